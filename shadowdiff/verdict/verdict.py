"""Say whether v2 answers as v1 does: `pass`, `fail` or `insufficient`.

In: an epoch's evidence, the coverage, the thresholds.  Out: a `Verdict` whose reason is one sentence.
Holds: pure. Too little traffic is never a pass, and a pass needs enough coverage; differences seen are a
failure whatever the coverage. The names of its fields are fixed: rollout controllers read them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict.coverage import Coverage, lack_of_coverage
from shadowdiff.verdict.decide import Decision, Finding, Interval, Lack, RouteFinding, find
from shadowdiff.verdict.epoch import Epoch, is_superseded
from shadowdiff.verdict.latency_gate import with_latency
from shadowdiff.verdict.noise_gate import Noise, NoiseTold, with_noise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.model import Gate
    from shadowdiff.verdict.evidence import Evidence

TOP: Final = 10
LISTED_ROUTES: Final = 50
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_ASIDE: Final = {
    "revision": "v2 answered as another revision",
    "rules": "a process compared by other rules",
}


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the gate allows; the increase of the p99 only where one is configured."""

    max_mismatch_ratio: float
    min_coverage: float
    max_p99_increase_ms: float | None = None

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
            max_p99_increase_ms=None if gate.max_p99_increase_s is None else gate.max_p99_increase_s * 1000,
        )


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The stretch of time that the numbers cover; None where nothing marks the end."""

    start: str | None = None
    end: str | None = None


class EpochTold(msgspec.Struct, frozen=True, kw_only=True):
    """When the evidence began and why, and under which revision and rules."""

    started: str
    revision: str | None
    rules: str | None
    id: int
    by: str
    session: str | None = None


class TopPath(msgspec.Struct, frozen=True, kw_only=True):
    """A place that differs, and in how many pairs."""

    route: str
    path: str
    kind: str
    count: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict as rollout controllers read it; the names are fixed.

    pairs_needed: how many more pairs decide, if they differ as those seen did; None where none would do.
    expected_at: when they will have come, at the epoch's pace so far.
    routes_untested: routes with too few pairs to say that they are within the limit.
    routes: those with most to say, at most fifty.
    noise: what is known of v1's own noise, and how many pairs were left out for it; None where nothing shows it.
    """

    verdict: Decision
    reason: str
    target: str
    window: Window = Window()
    pairs: dict[str, int] = {}
    mismatch_ratio: float | None = None
    interval: Interval | None = None
    coverage: Coverage | None = None
    epoch: EpochTold | None = None
    pairs_needed: int | None = None
    routes_untested: list[str] | None = None
    thresholds: Thresholds | None = None
    top: list[TopPath] = []
    report_url: str | None = None
    expected_at: str | None = None
    lack: Lack | None = None
    routes: list[RouteFinding] = []
    noise: NoiseTold | None = None


def judge(
    evidence: Evidence,
    coverage: Coverage,
    thresholds: Thresholds,
    *,
    epoch: Epoch | None = None,
    now_ms: int = 0,
    known_routes: Iterable[str] = (),
    report_url: str | None = None,
    noise: Noise | None = None,
) -> Verdict:
    """Return the verdict that an epoch's evidence supports.

    known_routes: routes declared or seen before, so that one without any pair is named as untested.
    """
    allowed = thresholds.max_mismatch_ratio
    finding = find(evidence, allowed, lack_of_coverage(coverage, thresholds.min_coverage))
    if noise is not None:
        finding = with_noise(finding, evidence, allowed, noise, epoch.noise if epoch else None)
    if thresholds.max_p99_increase_ms is not None and finding.decision is not Decision.FAIL:
        finding = with_latency(finding, evidence, thresholds.max_p99_increase_ms)
    per_s = _pace(evidence.compared, epoch, now_ms)
    wait_s = finding.pairs_needed / per_s if finding.pairs_needed and per_s else None
    compared = evidence.compared
    return Verdict(
        verdict=finding.decision,
        reason=_reason(finding, evidence, wait_s),
        target=evidence.target,
        window=Window(start=iso(epoch.started_ms), end=iso(now_ms)) if epoch else Window(),
        pairs={"compared": compared, **evidence.results},
        mismatch_ratio=evidence.mismatches / compared if compared else None,
        interval=finding.interval,
        coverage=coverage,
        epoch=told(epoch) if epoch else None,
        pairs_needed=finding.pairs_needed,
        routes_untested=_untested(finding, known_routes),
        thresholds=thresholds,
        top=_top(evidence),
        report_url=report_url,
        expected_at=iso(now_ms + round(1000 * wait_s)) if wait_s is not None else None,
        lack=finding.lack,
        routes=_worst(finding.routes),
        noise=_noise_told(noise, evidence) if noise is not None and noise.matters else None,
    )


def _noise_told(noise: Noise, evidence: Evidence) -> NoiseTold:
    known = noise.state.known
    return NoiseTold(
        version=known.version if known else None,
        source=known.source if known else None,
        learned_from=known.triples if known else 0,
        places=len(known.places) if known else 0,
        left_out=evidence.left_out,
        triples=sum(route.triples.all for route in evidence.routes),
        overflow=evidence.overflow,
    )


def unknown_target(name: str, known: list[str]) -> Verdict:
    """Return the verdict on a target that is not configured: a controller reads an HTTP error as its own failure."""
    listed = ", ".join(known) or "none"
    reason = f"unknown target {name!r}; configured: {listed}"
    return Verdict(verdict=Decision.INSUFFICIENT, reason=reason, target=name, lack=Lack.TARGET)


def unheard(name: str, why: str) -> Verdict:
    """Return the verdict where the evidence cannot be read: never a failure of v2."""
    return Verdict(verdict=Decision.INSUFFICIENT, reason=why, target=name, lack=Lack.STORE)


def of_rollout(verdict: Verdict, epoch: Epoch, asked: str) -> Verdict:
    """Return the verdict as a rollout may read it: none where another rollout took its place."""
    if not is_superseded(epoch, asked):
        return verdict
    present = epoch.session or epoch.revision
    reason = f"{asked} is not what v2 runs now: the evidence since {iso(epoch.started_ms)} is about {present}"
    return msgspec.structs.replace(verdict, verdict=Decision.INSUFFICIENT, reason=reason, lack=Lack.ROLLOUT)


def told(epoch: Epoch) -> EpochTold:
    """Return an epoch as the API shows it."""
    return EpochTold(
        started=iso(epoch.started_ms),
        revision=epoch.revision or epoch.session,
        rules=epoch.rules or None,
        id=epoch.id,
        by=epoch.by,
        session=epoch.session,
    )


def iso(at_ms: int) -> str:
    """Return a time as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """Return a stretch of time in its largest unit, as a person says it."""
    for unit_s, name in ((_DAY_S, "days"), (_HOUR_S, "hours"), (_MINUTE_S, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} s"


def _pace(compared: int, epoch: Epoch | None, now_ms: int) -> float | None:
    """Return pairs per second since the epoch opened; None before the first."""
    if epoch is None or not compared or now_ms <= epoch.started_ms:
        return None
    return compared / ((now_ms - epoch.started_ms) / 1000)


def _reason(finding: Finding, evidence: Evidence, wait_s: float | None) -> str:
    """Return the reason, and what an insufficient verdict waits for."""
    if finding.lack is not Lack.PAIRS:
        return finding.reason
    parts = [finding.reason]
    if finding.pairs_needed:
        when = f", in about {duration(wait_s)}" if wait_s is not None else ""
        more = f"{finding.pairs_needed:,} more pairs decide if they go on like this{when}"
        parts.append(more if evidence.compared else f"a clean run passes after {finding.pairs_needed:,}")
    parts += [
        f"{evidence.aside[name]:,} pairs are set aside, since {why}"
        for name, why in _ASIDE.items()
        if evidence.aside.get(name)
    ]
    return "; ".join(parts)


def _untested(finding: Finding, known_routes: Iterable[str]) -> list[str]:
    """Return the routes that nobody can vouch for, those with most pairs first, then those with none."""
    tested = {route.route for route in finding.routes}
    few = sorted(
        (r for r in finding.routes if r.state in {"untested", "suspect"}), key=lambda r: (-r.compared, r.route)
    )
    return [route.route for route in few] + sorted(set(known_routes) - tested)


def _worst(routes: tuple[RouteFinding, ...]) -> list[RouteFinding]:
    order = {"fails": 0, "suspect": 1, "untested": 2, "within": 3}
    ranked = sorted(routes, key=lambda route: (order[route.state], -route.mismatches, -route.compared, route.route))
    return ranked[:LISTED_ROUTES]


def _top(evidence: Evidence) -> list[TopPath]:
    paths = [
        TopPath(route=route.route, path=path.path, kind=path.kind, count=path.count)
        for route in evidence.routes
        for path in route.paths
    ]
    return sorted(paths, key=lambda p: (-p.count, p.route, p.path))[:TOP]
