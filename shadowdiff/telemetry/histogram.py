"""Durations counted into fixed buckets, cheap enough for every pair.

In: seconds, and a trace id where a bucket looks for one.  Out: counts per bucket, their sum, a trace of each bucket.
Holds: `observe` costs less than half a microsecond; nothing grows with the number of observations. A bucket looks for
a trace a few times a second at most, since reading one from headers costs ten times as much: the slow ones, which see
little, look each time. Reads no clock.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends, each inclusive; one more bucket holds what is above."""
LOOKS_EVERY_S: Final = 0.1


class Histogram:
    """Counts of durations. A negative duration is one that nobody measured, and is not counted."""

    __slots__ = ("_looked_s", "counts", "sum_s", "traces")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self._looked_s = [float("-inf")] * len(self.counts)
        self.sum_s = 0.0
        self.traces: dict[int, tuple[str, float]] = {}

    def observe(self, seconds: float, trace_id: Callable[[], str] = str, now_s: float = 0.0) -> None:
        """Count one duration; what `trace_id` returns becomes its bucket's exemplar, where that looks for one now."""
        if seconds >= 0.0:
            bucket = bisect_left(BOUNDS_S, seconds)
            self.counts[bucket] += 1
            self.sum_s += seconds
            if now_s - self._looked_s[bucket] >= LOOKS_EVERY_S:
                self._looked_s[bucket] = now_s
                if found := trace_id():
                    self.traces[bucket] = (found, seconds)

    def copy(self) -> Histogram:
        """Return the state of now, which later observations do not change."""
        taken = Histogram()
        taken.counts = self.counts.copy()
        taken.sum_s = self.sum_s
        taken.traces = self.traces.copy()
        return taken
