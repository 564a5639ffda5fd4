"""Say when the wall clock jumps: windows and epochs are told by it, so whoever reads them should know.

In: two clocks, the wall's and one that only runs.  Out: one line a jump.  Holds: nothing depends on it.
"""

from __future__ import annotations

import asyncio
import logging
import time

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
JUMP_S = 5.0
"""Less is what a clock that is kept right does anyway."""


async def watch_clock() -> None:
    """Look until cancelled."""
    ahead_s = time.time() - time.monotonic()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now_s = time.time() - time.monotonic()
        if abs(now_s - ahead_s) > JUMP_S:
            by_s = now_s - ahead_s
            log.warning("the wall clock jumped by %+.0f s: windows and epochs are told by it", by_s)
        ahead_s = now_s
