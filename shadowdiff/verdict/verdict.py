"""Say whether v2 answers as v1 does: `pass`, `fail` or `insufficient`.

In: a target's counts, its coverage, the thresholds.  Out: a `Verdict` whose reason is one sentence.
Holds: pure. Too little traffic is never a pass, and a pass needs enough coverage; differences seen are a
failure whatever the coverage. What no statistic has filled in yet is None, not invented.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from shadowdiff.model import Gate
    from shadowdiff.verdict.counts import TargetCounts

MIN_PAIRS: Final = 100
"""Below this many compared pairs a ratio says nothing."""
TOP: Final = 10


class Decision(StrEnum):
    """The three answers."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate allows."""

    max_mismatch_ratio: float
    min_coverage: float

    @classmethod
    def of(
        cls, gate: Gate, *, max_mismatch_ratio: float | None = None, min_coverage: float | None = None
    ) -> Thresholds:
        """Return the gate's thresholds, made stricter where a caller asks, never looser."""
        ratio = gate.max_mismatch_ratio if max_mismatch_ratio is None else max_mismatch_ratio
        coverage = gate.min_coverage if min_coverage is None else min_coverage
        return cls(
            max_mismatch_ratio=min(gate.max_mismatch_ratio, ratio),
            min_coverage=max(gate.min_coverage, coverage),
        )


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of v1's eligible traffic the numbers speak for, as the ledger counts it."""

    eligible: int
    compared: int
    ratio: float


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The stretch of time that the numbers cover; None where nothing marks the end."""

    start: str | None = None
    end: str | None = None


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """When the evidence began, and under which revision and rules."""

    started: str
    revision: str | None
    rules: str | None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """Where the true ratio lies, at a level of confidence."""

    level: float
    lower: float
    upper: float


class TopPath(msgspec.Struct, frozen=True, kw_only=True):
    """A place that differs, and in how many pairs."""

    route: str
    path: str
    kind: str
    count: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict as rollout controllers read it; the names are fixed."""

    verdict: Decision
    reason: str
    target: str
    window: Window = Window()
    pairs: dict[str, int] = {}
    mismatch_ratio: float | None = None
    interval: Interval | None = None
    coverage: Coverage | None = None
    epoch: Epoch | None = None
    pairs_needed: int | None = None
    routes_untested: list[str] | None = None
    thresholds: Thresholds | None = None
    top: list[TopPath] = []
    report_url: str | None = None


def judge(
    counts: TargetCounts, coverage: Coverage, thresholds: Thresholds, *, report_url: str | None = None
) -> Verdict:
    """Return the verdict that the counts support by themselves: the plain ratio against the thresholds."""
    decision, reason, needed = _decide(counts, coverage, thresholds)
    return Verdict(
        verdict=decision,
        reason=reason,
        target=counts.target,
        pairs={"compared": counts.compared, **counts.results},
        mismatch_ratio=counts.mismatch_ratio,
        coverage=coverage,
        pairs_needed=needed,
        thresholds=thresholds,
        top=_top(counts),
        report_url=report_url,
    )


def unknown_target(name: str, known: list[str]) -> Verdict:
    """Return the verdict on a target that is not configured: a controller reads an HTTP error as its own failure."""
    listed = ", ".join(known) or "none"
    return Verdict(verdict=Decision.INSUFFICIENT, reason=f"unknown target {name!r}; configured: {listed}", target=name)


def pairs_needed(counts: TargetCounts, thresholds: Thresholds) -> int:
    """Return how many more pairs a pass takes: as many as it takes for one mismatch to fit under the ratio."""
    ratio = thresholds.max_mismatch_ratio
    floor = max(MIN_PAIRS, math.ceil(1 / ratio)) if ratio > 0 else MIN_PAIRS
    return max(0, floor - counts.compared)


def _decide(counts: TargetCounts, coverage: Coverage, thresholds: Thresholds) -> tuple[Decision, str, int]:
    n, ratio, allowed = counts.compared, counts.mismatch_ratio, thresholds.max_mismatch_ratio
    needed = pairs_needed(counts, thresholds)
    if ratio is None:
        return Decision.INSUFFICIENT, "no pair was compared yet", needed
    if n < MIN_PAIRS:
        return Decision.INSUFFICIENT, f"{n:,} pairs compared, fewer than {MIN_PAIRS} say nothing", needed
    if ratio > allowed:
        mismatches = counts.results["mismatch"]
        return (
            Decision.FAIL,
            f"{mismatches:,} of {n:,} pairs differ ({_percent(ratio)}), {_percent(allowed)} is allowed",
            needed,
        )
    if needed:
        return (
            Decision.INSUFFICIENT,
            f"{n:,} pairs compared, a pass at {_percent(allowed)} needs {needed:,} more",
            needed,
        )
    if coverage.ratio < thresholds.min_coverage:
        wanted = _percent(thresholds.min_coverage)
        reason = f"only {_percent(coverage.ratio)} of v1's eligible answers were compared, {wanted} is needed"
        return Decision.INSUFFICIENT, reason, needed
    return Decision.PASS, f"{_percent(ratio)} of {n:,} pairs differ, {_percent(allowed)} is allowed", needed


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g}%"


def _top(counts: TargetCounts) -> list[TopPath]:
    paths = [
        TopPath(route=route.route, path=path.path, kind=path.kind, count=path.count)
        for route in counts.routes
        for path in route.paths
    ]
    return sorted(paths, key=lambda p: (-p.count, p.route, p.path))[:TOP]
