"""Counts of what was compared, and the verdict that rests on them.

In: comparisons as they commit.  Out: writes that count, and from the counts a verdict.
Holds: the mathematics reads no clock and no store; what reads or keeps epochs awaits.
"""

from shadowdiff.verdict.buckets import History, Point, Unit, bucket_writes, read_history, read_points
from shadowdiff.verdict.counts import (
    CountCaps,
    Latency,
    PathCount,
    RouteCounts,
    TargetCounts,
    compared_pairs,
    count_writes,
    known_routes,
    read_counts,
    read_durations,
)
from shadowdiff.verdict.coverage import Coverage, coverage_since
from shadowdiff.verdict.decide import Decision, Lack, RouteFinding
from shadowdiff.verdict.epoch import Epoch, OpenedBy
from shadowdiff.verdict.epochs import Epochs, Watched, flat
from shadowdiff.verdict.evidence import Evidence, read_evidence
from shadowdiff.verdict.funnel import Funnel, FunnelWindow, funnel, grown_since
from shadowdiff.verdict.funnel import Loss as FunnelLoss
from shadowdiff.verdict.funnel import Routes as FunnelRoutes
from shadowdiff.verdict.latency import MEASURED, LatencyComparison, compare_latency
from shadowdiff.verdict.marks import LedgerMarks, mark_after, mark_before
from shadowdiff.verdict.noise import Cells, NoiseSet, Source
from shadowdiff.verdict.noise_gate import Noise, NoiseTold, PlaceFinding, judge_places
from shadowdiff.verdict.noise_store import NoiseState
from shadowdiff.verdict.openings import Opened, read_openings
from shadowdiff.verdict.triples import TripleBounds
from shadowdiff.verdict.verdict import EpochTold, Thresholds, Verdict, judge, of_rollout, told, unheard, unknown_target

__all__ = [
    "MEASURED",
    "Cells",
    "CountCaps",
    "Coverage",
    "Decision",
    "Epoch",
    "EpochTold",
    "Epochs",
    "Evidence",
    "Funnel",
    "FunnelLoss",
    "FunnelRoutes",
    "FunnelWindow",
    "History",
    "Lack",
    "Latency",
    "LatencyComparison",
    "LedgerMarks",
    "Noise",
    "NoiseSet",
    "NoiseState",
    "NoiseTold",
    "Opened",
    "OpenedBy",
    "PathCount",
    "PlaceFinding",
    "Point",
    "RouteCounts",
    "RouteFinding",
    "Source",
    "TargetCounts",
    "Thresholds",
    "TripleBounds",
    "Unit",
    "Verdict",
    "Watched",
    "bucket_writes",
    "compare_latency",
    "compared_pairs",
    "count_writes",
    "coverage_since",
    "flat",
    "funnel",
    "grown_since",
    "judge",
    "judge_places",
    "known_routes",
    "mark_after",
    "mark_before",
    "of_rollout",
    "read_counts",
    "read_durations",
    "read_evidence",
    "read_history",
    "read_openings",
    "read_points",
    "told",
    "unheard",
    "unknown_target",
]
