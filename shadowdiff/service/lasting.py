"""Keep what runs beside the ports running: a fault of one turn is logged, and the task begins anew.

In: what runs until it is cancelled.  Out: the same, whatever it raises.
Holds: who serves requests does not end with who keeps figures in order, whatever lies in the store. Not for what counts
calls of its own, as parking does: what that lost could not be told.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0


async def lasting(run: Callable[[], Awaitable[None]], name: str, again_s: float = AGAIN_S) -> None:
    """Run until it returns, or is cancelled."""
    while True:
        try:
            await run()
        except Exception:  # the task's outer edge: it has no caller, and its group would end the service
            log.exception("a task failed, and begins anew: %s", name)
            await asyncio.sleep(again_s)
        else:
            return
