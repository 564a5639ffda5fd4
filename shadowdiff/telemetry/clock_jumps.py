"""Log every jump of a clock that windows and runs depend on: this process's clock or Redis's clock.

The result is used only for the log. While Redis is unavailable, its clock is not checked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from shadowdiff.store import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 1.0
JUMP_S: Final = 5.0
"""Clock synchronization moves a clock by less than this."""
_SLOW_S: Final = 1.0
"""After a slower reply it is unclear when Redis read its clock."""


class ClockJumpDetector:
    """Compares wall clocks with the monotonic clock. `of_redis` returns each master's Unix time by address."""

    def __init__(
        self,
        of_redis: Callable[[], Awaitable[dict[str, float]]],
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._of_redis = of_redis
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._ahead_s: dict[str, float] = {}

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    async def check(self) -> None:
        """Check every clock once."""
        self._compare("this process", self._wall_s() - self._monotonic_s())
        sent_s = self._monotonic_s()
        try:
            clocks_s = await self._of_redis()
        except STORE_ERRORS:
            return
        received_s = self._monotonic_s()
        if received_s - sent_s > _SLOW_S:
            return
        for address, clock_s in clocks_s.items():
            self._compare(f"Redis at {address}" if address else "Redis", clock_s - (sent_s + received_s) / 2)

    def _compare(self, clock: str, ahead_s: float) -> None:
        by_s = ahead_s - self._ahead_s.get(clock, ahead_s)
        self._ahead_s[clock] = ahead_s
        if abs(by_s) > JUMP_S:
            log.warning("the clock of %s jumped by %+.0f s; windows and runs depend on it", clock, by_s)
