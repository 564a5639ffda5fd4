"""The verdict on v2 for rollout controllers: `pass`, `fail` or `insufficient`.

Pure. v2 passes only with enough traffic and enough coverage, and fails with enough mismatches at any coverage. The
field names are fixed, because rollout controllers read them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict.decide import ALPHA, Decision, Finding, InsufficientReason, Interval, RouteFinding, find
from shadowdiff.verdict.excess import SOON_S, sample_for
from shadowdiff.verdict.latency import with_latency
from shadowdiff.verdict.ledger_growth import Coverage, low_coverage
from shadowdiff.verdict.noise_gate import ALPHA_PAIRS, Noise, NoiseInfo, with_noise
from shadowdiff.verdict.run import STARTED_BY, Exclusion, Run, is_superseded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.model import Gate
    from shadowdiff.verdict.evidence import Evidence

TOP: Final = 10
LISTED_ROUTES: Final = 50
_UNITS: Final = ((86_400, "days"), (3600, "hours"), (60, "min"))
_EXCLUDED: Final = {
    Exclusion.REVISION: "another revision of v2 responded",
    Exclusion.RULES: "a process compared them with other rules",
}


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of the gate; the increase of the p99 is limited only if a limit is configured."""

    max_mismatch_ratio: float
    min_coverage: float
    max_p99_increase_ms: float | None = None

    @classmethod
    def of(
        cls, gate: Gate, *, max_mismatch_ratio: float | None = None, min_coverage: float | None = None
    ) -> Thresholds:
        """Return the gate's thresholds; a caller can make them stricter, but never looser."""
        ratio = gate.max_mismatch_ratio if max_mismatch_ratio is None else max_mismatch_ratio
        coverage = gate.min_coverage if min_coverage is None else min_coverage
        return cls(
            max_mismatch_ratio=min(gate.max_mismatch_ratio, ratio),
            min_coverage=max(gate.min_coverage, coverage),
            max_p99_increase_ms=None if gate.max_p99_increase_s is None else gate.max_p99_increase_s * 1000,
        )


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The time that the numbers cover; None if there is no run."""

    start: str | None = None
    end: str | None = None


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the form that the API returns."""

    started: str
    revision: str | None
    rules: str | None
    id: int
    by: str
    rollout: str | None = None


class TopPath(msgspec.Struct, frozen=True, kw_only=True):
    """A place that differs, and the number of pairs that differ there."""

    route: str
    path: str
    kind: str
    count: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict for rollout controllers; its field names never change.

    pairs_needed: how many more pairs decide, at the same mismatch ratio; None if no number of pairs decides.
    expected_at: when these pairs will have arrived, at the run's current rate.
    routes_untested: routes with too few pairs to show that they are within the limit.
    routes: at most fifty, the most important ones.
    noise: the noise set, and the pairs that it excludes.
    """

    verdict: Decision
    reason: str
    target: str
    window: Window = Window()
    pairs: dict[str, int] = {}
    mismatch_ratio: float | None = None
    interval: Interval | None = None
    coverage: Coverage | None = None
    run: RunInfo | None = None
    pairs_needed: int | None = None
    routes_untested: list[str] | None = None
    thresholds: Thresholds | None = None
    top: list[TopPath] = []
    report_url: str | None = None
    expected_at: str | None = None
    insufficient_reason: InsufficientReason | None = None
    routes: list[RouteFinding] = []
    noise: NoiseInfo | None = None


def judge(
    evidence: Evidence,
    coverage: Coverage,
    thresholds: Thresholds,
    *,
    run: Run | None = None,
    now_ms: int = 0,
    known_routes: Iterable[str] = (),
    report_url: str | None = None,
    noise: Noise | None = None,
) -> Verdict:
    """Return the verdict that a run's evidence supports.

    known_routes: routes that were declared or seen earlier; if one has no pair in this run, it is listed as untested.
    """
    allowed = thresholds.max_mismatch_ratio
    few = low_coverage(coverage, thresholds.min_coverage, sum(evidence.results.values()))
    finding = find(evidence, allowed, few, ALPHA_PAIRS if noise is not None and noise.controlled else ALPHA)
    if noise is not None:
        finding = with_noise(finding, evidence, allowed, noise, run.noise if run else None, low_coverage=few)
    if thresholds.max_p99_increase_ms is not None:
        finding = with_latency(finding, evidence, thresholds.max_p99_increase_ms)
    wait_s = _wait_s(finding.pairs_needed, evidence.compared, run, now_ms)
    info = _noise_info(noise, finding, evidence, run, now_ms) if noise else None
    return Verdict(
        verdict=finding.decision,
        reason=_reason(finding, evidence, wait_s) + _forecast(info, finding, now_ms),
        target=evidence.target,
        window=Window(start=iso(run.started_ms), end=iso(now_ms)) if run else Window(),
        pairs={"compared": evidence.compared, **evidence.results},
        mismatch_ratio=evidence.mismatches / evidence.compared if evidence.compared else None,
        interval=finding.interval,
        coverage=coverage,
        run=run_info(run) if run else None,
        pairs_needed=finding.pairs_needed,
        routes_untested=_untested(finding, known_routes),
        thresholds=thresholds,
        top=_top(evidence),
        report_url=report_url,
        expected_at=None if wait_s is None else iso(now_ms + round(1000 * wait_s)),
        insufficient_reason=finding.insufficient_reason,
        routes=_most_important(finding.routes),
        noise=info,
    )


def unknown_target(name: str, known: list[str]) -> Verdict:
    """Return the verdict on an unknown target; rollout controllers would treat an HTTP error as a failed call."""
    why, target = f"Unknown target {name!r}; configured: {', '.join(known) or 'none'}.", InsufficientReason.TARGET
    return Verdict(verdict=Decision.INSUFFICIENT, reason=why, target=name, insufficient_reason=target)


def store_unavailable(name: str, why: str) -> Verdict:
    """Return the verdict if the evidence cannot be read; this verdict never fails v2."""
    store = InsufficientReason.STORE
    return Verdict(verdict=Decision.INSUFFICIENT, reason=why, target=name, insufficient_reason=store)


def of_rollout(verdict: Verdict, run: Run, rollout: str) -> Verdict:
    """Return the verdict for one rollout: insufficient if another rollout replaced it."""
    if not is_superseded(run, rollout):
        return verdict
    reason = f"Superseded: the run since {iso(run.started_ms)} is about {run.rollout or run.revision}, not {rollout}."
    return msgspec.structs.replace(
        verdict, verdict=Decision.INSUFFICIENT, reason=reason, insufficient_reason=InsufficientReason.ROLLOUT
    )


def run_info(run: Run) -> RunInfo:
    """Return a run in the API's form."""
    return RunInfo(
        started=iso(run.started_ms),
        revision=run.revision or run.rollout,
        rules=run.rules or None,
        id=run.id,
        by=run.by,
        rollout=run.rollout,
    )


def describe_run(run: RunInfo) -> str:
    """Return a run as text for the terminal."""
    named = f", revision {run.revision}" if run.revision else ""
    return f"run {run.id}, since {run.started}{named}, started by {STARTED_BY.get(run.by, run.by)}"


def iso(at_ms: int) -> str:
    """Return a UTC time in RFC 3339 format."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """Return a duration in its largest unit."""
    for unit_s, name in _UNITS:
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} s"


def _wait_s(pairs: int | None, compared: int, run: Run | None, now_ms: int) -> float | None:
    if not pairs or not compared or run is None or now_ms <= run.started_ms:
        return None
    return pairs / compared * (now_ms - run.started_ms) / 1000


def _noise_info(noise: Noise, finding: Finding, evidence: Evidence, run: Run | None, now_ms: int) -> NoiseInfo | None:
    """Return the noise information, with a forecast if triples can still decide."""
    info, needed = noise.info(evidence), finding.triples_needed
    wait_s = _wait_s(needed, evidence.triples, run, now_ms)
    if info is None or not needed or wait_s is None:
        return info and msgspec.structs.replace(info, triples_needed=needed)
    proposed = sample_for(needed, noise.sample, needed / wait_s) if wait_s > SOON_S else None
    return msgspec.structs.replace(
        info,
        triples_needed=needed,
        expected_at=iso(now_ms + round(1000 * wait_s)),
        proposed_sample=proposed[0] if proposed else None,
        proposed_at=iso(now_ms + round(1000 * proposed[1])) if proposed else None,
    )


def _forecast(info: NoiseInfo | None, finding: Finding, now_ms: int) -> str:
    """Return the sentence on the triples that are missing, for a verdict that v1's own noise delays."""
    if info is None or finding.insufficient_reason is not InsufficientReason.NOISE or not info.triples_needed:
        return ""
    text = f" If v2 is equal to v1, about {info.triples_needed:,} more triples are needed"
    if info.expected_at:
        text += f", which takes about {duration(_seconds_until(info.expected_at, now_ms))}"
    if info.proposed_sample and info.proposed_at:
        wait = duration(_seconds_until(info.proposed_at, now_ms))
        text += f"; with `control.sample: {info.proposed_sample:g}`, about {wait}"
    return f"{text}."


def _seconds_until(at: str, now_ms: int) -> float:
    return datetime.fromisoformat(at).timestamp() - now_ms / 1000


def _reason(finding: Finding, evidence: Evidence, wait_s: float | None) -> str:
    """Return the reason; if there are too few pairs, also name how many are missing."""
    if finding.insufficient_reason is not InsufficientReason.PAIRS:
        return finding.reason
    parts = [finding.reason]
    if finding.pairs_needed and evidence.compared:
        when = f", which takes about {duration(wait_s)}" if wait_s is not None else ""
        parts.append(f"About {finding.pairs_needed:,} more pairs are needed{when}.")
    elif finding.pairs_needed:
        parts.append(f"Without differences, v2 passes after {finding.pairs_needed:,} pairs.")
    parts += [
        f"{evidence.excluded[name]:,} pairs do not count, because {why}."
        for name, why in _EXCLUDED.items()
        if evidence.excluded.get(name)
    ]
    return " ".join(parts)


def _untested(finding: Finding, known_routes: Iterable[str]) -> list[str]:
    """Return the routes with too few pairs, most pairs first, then known routes without pairs."""
    few = [route for route in finding.routes if route.state in {"untested", "suspect"}]
    few.sort(key=lambda route: (-route.compared, route.route))
    return [route.route for route in few] + sorted(set(known_routes) - {route.route for route in finding.routes})


def _most_important(routes: tuple[RouteFinding, ...]) -> list[RouteFinding]:
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
