"""Whether this process was too busy, of late, to say that somebody else was slow.

In: the loop's thread as the system sees it.  Out: `was_high`.  Holds: time that the thread waits for a processor counts
as busy, so that a machine or a quota that is too small shows as well; the load of this very moment counts, since
whoever asks may be what makes it; a single turn of the loop that takes long counts before any span has passed.
Source: Linux, Documentation/scheduler/sched-stats.rst (`/proc/<pid>/schedstat`: time run, time waited, in ns).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S: Final = 0.1
SPAN_S: Final = 0.2
"""Less is a burst, and no load."""
HIGH: Final = 0.9
"""The share of a span in which the thread ran or wanted to."""
LONG_TURN_S: Final = 0.01
"""In one turn of the loop, from the first who asks to the one who does now: no answer of v2 was read meanwhile."""
AGAIN_S: Final = 0.02
"""Who asks more often is told the same."""
_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")


class _Seen(NamedTuple):
    """A moment, and for how long the thread had wanted a processor by then."""

    at_s: float
    wanted_s: float


class OwnLoad:
    """The load of the thread that makes it, which is the loop's."""

    def __init__(
        self,
        wanted_s: Callable[[], float] | None = None,
        now_s: Callable[[], float] = time.monotonic,
        next_turn: Callable[[Callable[[], None]], object] = lambda _call: None,
    ) -> None:
        """Take what tells of the thread; `next_turn` calls something in the loop's next turn, as `call_soon` does."""
        self._wanted_s = wanted_s or _of_this_thread()
        self._now_s = now_s
        self._next_turn = next_turn
        self._asked_s = float("inf")
        self._seen: deque[_Seen] = deque([_Seen(now_s(), self._wanted_s())])
        self._looked_s = self._high_at_s = float("-inf")

    def was_high(self, within_s: float) -> bool:
        """Return whether the load was high at any time within the last `within_s`."""
        now_s = self._now_s()
        if self._asked_s > now_s:
            self._asked_s = now_s
            self._next_turn(self._turned)
        if now_s - self._asked_s > LONG_TURN_S:
            self._high_at_s = now_s
        elif now_s - self._looked_s >= AGAIN_S:
            self._look(now_s)
        return now_s - self._high_at_s <= within_s

    def _turned(self) -> None:
        """Forget when this turn's first asked."""
        self._asked_s = float("inf")

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.look()

    def look(self) -> None:
        """Note the load of this moment, for those who ask later."""
        now_s = self._now_s()
        self._look(now_s)
        self._seen.append(_Seen(now_s, self._wanted_s()))
        while len(self._seen) > 1 and self._seen[1].at_s <= now_s - SPAN_S:
            self._seen.popleft()

    def _look(self, now_s: float) -> None:
        """Set against what was seen a span ago, or as soon before as was looked; a younger process is not busy yet."""
        self._looked_s = now_s
        since = next((seen for seen in reversed(self._seen) if now_s - seen.at_s >= SPAN_S), None)
        if since is not None and self._wanted_s() - since.wanted_s >= HIGH * (now_s - since.at_s):
            self._high_at_s = now_s


def _of_this_thread() -> Callable[[], float]:
    """Return what tells for how long this thread has run or waited to run; without Linux' word, has run."""
    try:
        descriptor = os.open(_SCHEDSTAT, os.O_RDONLY)
    except OSError:
        return time.thread_time

    def read() -> float:
        ran, waited, *_ = os.pread(descriptor, 100, 0).split()
        return (int(ran) + int(waited)) / 1e9

    return read
