"""Counts of what was compared, and the verdict that rests on them.

In: comparisons as they commit.  Out: writes that count, and from the counts a verdict.
Holds: the mathematics reads no clock and no store; only `read_counts` awaits.
"""

from shadowdiff.verdict.counts import (
    Latency,
    PathCount,
    RouteCounts,
    TargetCounts,
    count_writes,
    read_counts,
)
from shadowdiff.verdict.verdict import Coverage, Decision, Thresholds, Verdict, judge, unknown_target

__all__ = [
    "Coverage",
    "Decision",
    "Latency",
    "PathCount",
    "RouteCounts",
    "TargetCounts",
    "Thresholds",
    "Verdict",
    "count_writes",
    "judge",
    "read_counts",
    "unknown_target",
]
