"""Say when a clock jumps that windows and epochs are told by, this process' or Redis': whoever reads them should know.

In: wall clocks, and one that only runs.  Out: one line a jump: which clock, and by how much.
Holds: nothing depends on it. While Redis does not answer, its clock is not seen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Now = Callable[[], float]

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
JUMP_S: Final = 5.0
"""Less is what a clock that is kept right does anyway."""
_SLOW_S: Final = 1.0
"""An answer that takes longer says too little of when it was given."""


class Clocks:
    """Every clock as it was seen last: by how much it is ahead of the one that only runs.

    of_redis: returns each master's clock in Unix seconds, by its address.
    """

    def __init__(
        self,
        of_redis: Callable[[], Awaitable[dict[str, float]]],
        wall_s: Now = time.time,
        running_s: Now = time.monotonic,
    ) -> None:
        self._of_redis = of_redis
        self._wall_s = wall_s
        self._running_s = running_s
        self._ahead_s: dict[str, float] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look at each of them once."""
        self._seen("this process", self._wall_s() - self._running_s())
        asked_s = self._running_s()
        try:
            told_s = await self._of_redis()
        except (RedisError, OSError, TimeoutError):
            return
        answered_s = self._running_s()
        if answered_s - asked_s > _SLOW_S:
            return
        for address, clock_s in told_s.items():
            self._seen(f"Redis at {address}" if address else "Redis", clock_s - (asked_s + answered_s) / 2)

    def _seen(self, whose: str, ahead_s: float) -> None:
        by_s = ahead_s - self._ahead_s.get(whose, ahead_s)
        self._ahead_s[whose] = ahead_s
        if abs(by_s) > JUMP_S:
            log.warning("the clock of %s jumped by %+.0f s: windows and epochs are told by it", whose, by_s)
