"""Hold the users back while this machine cannot follow: the demo shows a comparison, not a load.

In: how many copies and records are on their way from the proxy.  Out: how long a user has to wait before asking.
Holds: past a bound a proxy turns copies and records away, as it should; so no more are sent than it has room for.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOOK_S = 0.1
ANSWER_WITHIN_S = 0.1
ON_THE_WAY_AT_MOST = 20
"""Well below the 64 of the recorder's breaker, since more are sent before the next look."""
RAMP_S = 3.0


class Pace:
    """A gate that users pass, open while what they cause is taken in."""

    def __init__(self, on_the_way: Callable[[], Awaitable[int]]) -> None:
        self._on_the_way = on_the_way
        self._open = asyncio.Event()
        self._open.set()

    async def hold(self) -> float:
        """Wait for the gate, and return for how many seconds it was shut."""
        if self._open.is_set():
            return 0.0
        began = time.perf_counter()
        _ = await self._open.wait()
        return time.perf_counter() - began

    async def follow(self) -> None:
        """Look again and again; an answer that takes long shuts the gate by itself."""
        async with asyncio.TaskGroup() as group:
            while True:
                look = group.create_task(self._look())
                _, late = await asyncio.wait({look}, timeout=ANSWER_WITHIN_S)
                if late:
                    self._open.clear()
                await look
                await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        if await self._on_the_way() > ON_THE_WAY_AT_MOST:
            self._open.clear()
        else:
            self._open.set()


def due_s(number: int, rate: float) -> float:
    """Return when a request is due: the first seconds are slow, since everything has just started."""
    ramp = RAMP_S * rate / 2
    return (2 * number * RAMP_S / rate) ** 0.5 if number < ramp else RAMP_S + (number - ramp) / rate
