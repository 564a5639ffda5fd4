"""Count durations in fixed buckets, with a trace as exemplar for each bucket.

`observe` takes less than half a microsecond, and memory does not grow. Reading a trace id from headers takes ten times
as long, so each bucket does it at most every `EXEMPLAR_EVERY_S`. This module reads no clock.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Inclusive upper bounds; one more bucket counts longer durations."""
EXEMPLAR_EVERY_S: Final = 0.1
NEVER_S: Final = float("-inf")


class Histogram(msgspec.Struct):
    """Counts of durations. A negative duration means that nothing was measured; it is not counted."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0
    traces: dict[int, tuple[str, float]] = {}
    looked_s: dict[int, float] = {}

    def observe(self, seconds: float, trace_id: Callable[[], str] = str, now_s: float = 0.0) -> None:
        """Count one duration; if the bucket's exemplar is old, use the trace id as its new exemplar."""
        if seconds >= 0.0:
            bucket = bisect_left(BOUNDS_S, seconds)
            self.counts[bucket] += 1
            self.sum_s += seconds
            if now_s - self.looked_s.get(bucket, NEVER_S) >= EXEMPLAR_EVERY_S:
                self.looked_s[bucket] = now_s
                if found := trace_id():
                    self.traces[bucket] = (found, seconds)

    def __add__(self, other: Histogram) -> Histogram:
        """Return the sum of both counts; the exemplars of `other` have priority."""
        counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]
        return Histogram(counts, self.sum_s + other.sum_s, self.traces | other.traces)

    def copy(self) -> Histogram:
        """Return a copy that later observations do not change."""
        return Histogram(self.counts.copy(), self.sum_s, self.traces.copy())
