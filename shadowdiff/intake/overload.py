"""Detect overload of this process, and accept only a share of the requests while it has too much work.

An overloaded process never reports v2 as slow. Time that the thread waits for a processor counts as busy, so a machine
or quota that is too small also shows as overload. One long turn of the event loop counts immediately.
Source: Linux, Documentation/scheduler/sched-stats.rst (`/proc/<pid>/schedstat`: time run, time waited, in ns).
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import zlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S: Final = 0.1
SPAN_S: Final = 0.2
"""The length of a span. A shorter load is a burst, not an overload."""
HIGH: Final = 0.9
"""The share of a span in which the thread ran or waited to run."""
LONG_TURN_S: Final = 0.01
"""The maximum time between two checks in one turn of the loop, which reads no response of v2 meanwhile."""
CHECK_EVERY_S: Final = 0.02
"""More frequent checks return the same answer."""
BEGINS_AT: Final = 0.5
"""Up to this fill level, everything is accepted, because bursts also reach it."""
ENDS_AT: Final = 0.9
"""From this fill level, nothing is accepted. The rest of the queue is for requests that were already accepted."""


class OverloadDetector:
    """Monitors the thread that creates it, which runs the event loop.

    wanted_s: returns how long the thread ran or waited to run. next_turn: `loop.call_soon`.
    """

    def __init__(
        self,
        wanted_s: Callable[[], float] | None = None,
        now_s: Callable[[], float] = time.monotonic,
        next_turn: Callable[[Callable[[], None]], object] = lambda _call: None,
    ) -> None:
        self._wanted_s = wanted_s or _thread_wanted_s()
        self._now_s = now_s
        self._next_turn = next_turn
        self._turn_started_s = math.inf
        self._samples = deque([(now_s(), self._wanted_s())])
        self._checked_s = self._overloaded_at_s = -math.inf

    def was_overloaded(self, within_s: float) -> bool:
        """Return whether this process was overloaded at any time in the last `within_s` seconds."""
        now_s = self._now_s()
        if self._turn_started_s > now_s:
            self._turn_started_s = now_s
            self._next_turn(self._end_turn)
        if now_s - self._turn_started_s > LONG_TURN_S:
            self._overloaded_at_s = now_s
        elif now_s - self._checked_s >= CHECK_EVERY_S:
            self._check(now_s)
        return now_s - self._overloaded_at_s <= within_s

    def _end_turn(self) -> None:
        self._turn_started_s = math.inf

    async def watch(self) -> None:
        """Sample the load until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.sample()

    def sample(self) -> None:
        """Record the current load, to compare later loads with."""
        now_s = self._now_s()
        self._check(now_s)
        self._samples.append((now_s, self._wanted_s()))
        while len(self._samples) > 1 and self._samples[1][0] <= now_s - SPAN_S:
            self._samples.popleft()

    def _check(self, now_s: float) -> None:
        """Compare with the newest sample that is at least one span old; without such a sample, the load is unknown."""
        self._checked_s = now_s
        for at_s, wanted_s in reversed(self._samples):
            if now_s - at_s >= SPAN_S:
                if self._wanted_s() - wanted_s >= HIGH * (now_s - at_s):
                    self._overloaded_at_s = now_s
                return


def _thread_wanted_s() -> Callable[[], float]:
    """Return a function that returns how long this thread ran or waited to run; without schedstat, how long it ran."""
    try:
        descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        return time.thread_time

    def read() -> float:
        ran, waited, *_ = os.pread(descriptor, 100, 0).split()
        return (int(ran) + int(waited)) / 1e9

    return read


def accepted_share(fill: float) -> float:
    """Return the share of requests that are accepted at this fill level."""
    return min(1.0, max(0.0, (ENDS_AT - fill) / (ENDS_AT - BEGINS_AT)))


def position_of(request_id: str) -> float:
    """Return the position of an id in [0, 1). Ids below the accepted share are accepted."""
    return zlib.crc32(request_id.lower().encode("utf-8", "surrogatepass")) / (1 << 32)


@dataclass(eq=False)
class LoadShedder:
    """Accepts a share of the requests, chosen by id in the same way on both ports and in all processes.

    A smaller share is a subset of every larger share, so both halves of a pair are accepted or rejected together. The
    hash differs from the hash of `sample`, because the share is a part of the sample. fill: returns how full the
    fullest limit for a target is, from 0 to 1.
    """

    fill: Callable[[str], float] = lambda _target: 0.0

    def accepts(self, target: str, request_id: str) -> bool:
        """Return whether a request with this target and id is accepted now."""
        fill = self.fill(target)
        return fill <= BEGINS_AT or position_of(request_id) < accepted_share(fill)
