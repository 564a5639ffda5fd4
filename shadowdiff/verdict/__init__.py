"""Count compared pairs, manage runs, and decide the verdict on v2.

The statistics do no I/O; functions that read or write counts and runs are coroutines.
"""

from shadowdiff.verdict.counts import (
    CountCaps,
    Latency,
    PathCount,
    RouteCounts,
    TargetCounts,
    compared_by_route,
    compared_pairs,
    count_writes,
    known_routes,
    read_counts,
    read_durations,
)
from shadowdiff.verdict.decide import Decision, InsufficientReason, RouteFinding
from shadowdiff.verdict.evidence import Evidence, read_evidence
from shadowdiff.verdict.funnel import COULD_NOT_COMPARE, Funnel, FunnelWindow, funnel, grown_since, top_loss
from shadowdiff.verdict.funnel import Loss as FunnelLoss
from shadowdiff.verdict.funnel import Routes as FunnelRoutes
from shadowdiff.verdict.history import History, Point, Unit, history_writes, read_history, read_points
from shadowdiff.verdict.latency import MEASURED, LatencyComparison, compare_latency
from shadowdiff.verdict.ledger_growth import Coverage, LedgerSnapshots, coverage_since, flat, read_snapshots
from shadowdiff.verdict.noise_gate import Noise, NoiseInfo, PlaceFinding, judge_places
from shadowdiff.verdict.noise_set import Cells, NoiseSet, NoiseState, Source
from shadowdiff.verdict.run import STARTED_BY, Run, RunInputs, StartedBy
from shadowdiff.verdict.run_store import RunStarted, read_run_starts
from shadowdiff.verdict.runs import Runs
from shadowdiff.verdict.verdict import (
    RunInfo,
    Thresholds,
    Verdict,
    describe_run,
    judge,
    of_rollout,
    run_info,
    store_unavailable,
    unknown_target,
)

__all__ = [
    "COULD_NOT_COMPARE", "MEASURED", "STARTED_BY", "Cells", "CountCaps", "Coverage", "Decision", "Evidence", "Funnel",
    "FunnelLoss", "FunnelRoutes", "FunnelWindow", "History", "InsufficientReason", "Latency", "LatencyComparison",
    "LedgerSnapshots", "Noise", "NoiseInfo", "NoiseSet", "NoiseState", "PathCount", "PlaceFinding", "Point",
    "RouteCounts", "RouteFinding", "Run", "RunInfo", "RunInputs", "RunStarted", "Runs", "Source", "StartedBy",
    "TargetCounts", "Thresholds", "Unit", "Verdict", "compare_latency", "compared_by_route", "compared_pairs",
    "count_writes", "coverage_since", "describe_run", "flat", "funnel", "grown_since", "history_writes", "judge",
    "judge_places", "known_routes", "of_rollout", "read_counts", "read_durations", "read_evidence", "read_history",
    "read_points", "read_run_starts", "read_snapshots", "run_info", "store_unavailable", "top_loss", "unknown_target",
]  # fmt: skip
