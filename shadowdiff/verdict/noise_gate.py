"""Correct a finding for v1's own noise: exclude noise, blame v2 for other differences, or report uncertainty.

Pure. Two equal versions, even if they are noisy, fail with a probability of at most ALPHA in one run. ALPHA_GUARD is
the part for mismatches outside the noise set: they fail v2 only if noise that learning missed does not explain them.
ALPHA_PLACES is split equally among the places of the set: a place fails v2 if v2 differs there more often than v1
differs from itself, or if only v2 repeats a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict.decide import ALPHA, Decision, Finding, InsufficientReason, at_least, differ, target_fails
from shadowdiff.verdict.excess import ALPHA_EXCESS, LEAST_TRIPLES, outside, passes_by_excess, triples_needed
from shadowdiff.verdict.noise_set import NONE, Cells, NoiseSet, NoiseState, Source
from shadowdiff.verdict.sequence import is_excess, lower_end, upper_end
from shadowdiff.verdict.triples import TripleCounts

if TYPE_CHECKING:
    from shadowdiff.verdict.evidence import Evidence

ALPHA_PLACES: Final = ALPHA / 5
ALPHA_GUARD: Final = ALPHA - ALPHA_PLACES
_GUARD_TARGET: Final = 0.75 * ALPHA_GUARD
_GUARD_ROUTES: Final = ALPHA_GUARD - _GUARD_TARGET
_BETS: Final = 0.9 * _GUARD_TARGET
_PAIRS: Final = 0.05 * _GUARD_TARGET
"""The error of the lower bound of v2's mismatches; the upper bounds of missed noise have the same error."""
ALPHA_PAIRS: Final = ALPHA - ALPHA_EXCESS
"""The error of a pass by the mismatch ratio, if there is a control."""
_BY_EXCESS: Final = frozenset({InsufficientReason.PAIRS, InsufficientReason.ROUTE, InsufficientReason.NOISE})
"""The doubts that the excess of v2 over v1's own noise can remove."""


class NoiseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The current noise set, as a verdict shows it. excluded: pairs of the run that differ only in noise.

    triples_needed: how many more triples prove that v2 differs no more than v1 itself, if that is true. expected_at:
    when they will have arrived. proposed_sample: a larger `control.sample`, which gives them at proposed_at.
    """

    version: int | None = None
    source: Source | None = None
    learned_from: int = 0
    places: int = 0
    excluded: int = 0
    triples: int = 0
    overflow: int = 0
    triples_needed: int | None = None
    expected_at: str | None = None
    proposed_sample: float | None = None
    proposed_at: str | None = None


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """A target's noise state, and the progress of learning.

    controlled: whether a control is configured. sample: the share of requests that the control gets.
    """

    state: NoiseState
    learned: int = 0
    learn: int = 1000
    controlled: bool = False
    sample: float = 0.0

    @property
    def matters(self) -> bool:
        """Whether the verdict uses noise."""
        return self.controlled or self.state.known is not None or self.state.learning is not None

    def info(self, evidence: Evidence) -> NoiseInfo | None:
        """Return the noise information for a verdict; None if the verdict does not use noise."""
        if not self.matters:
            return None
        info = NoiseInfo(excluded=evidence.left_out, triples=evidence.triples, overflow=evidence.overflow)
        if (known := self.state.known) is None:
            return info
        return msgspec.structs.replace(
            info, version=known.version, source=known.source, learned_from=known.triples, places=len(known.places)
        )

    def unsettled(self, run_noise: str | None) -> str | None:
        """Return why the run's noise set is not final; None if it is final."""
        if self.state.calibrates:
            until = "all differences count as noise until `shadowdiff calibrate stop`"
            return f"Calibrating: {until}; {self.learned:,} pairs so far."
        if self.state.learning is not None or self.state.known is None:
            return f"Learning v1's own noise from the control: {self.learned:,} of {self.learn:,} triples so far."
        if run_noise != self.state.version:
            return "The noise set has just changed; its run starts within seconds."
        return None


class PlaceFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One place: its learned counts, its counts in the run's triples, and the resulting state.

    state: `noise`; `beyond` (v2 differs there more often than v1 differs from itself); `constant` (v2 repeats a value
    but v1 does not); outside the set `v2` (v2 differs more often) or `unclear`. triples: the route's, in the run.
    """

    route: str
    path: str
    kind: str
    change: str
    state: str
    learned_from: int = 0
    learned: Cells = NONE
    triples: int = 0
    cells: Cells = NONE
    blocks: int = 0
    repeats: Cells = NONE


def with_noise(
    finding: Finding,
    evidence: Evidence,
    allowed: float,
    noise: Noise,
    run_noise: str | None,
    *,
    low_coverage: str | None = None,
) -> Finding:
    """Return the finding, corrected for noise.

    run_noise: the version of the noise set that the run uses. low_coverage: why coverage is too low, or None.
    """
    if not noise.matters:
        return finding
    unsettled, known = noise.unsettled(run_noise), noise.state.known
    if unsettled or known is None:
        return finding.insufficient(unsettled or "", InsufficientReason.LEARNING)
    blamed = [one for one in judge_places(evidence, known, allowed) if one.state in {"beyond", "constant"}]
    if blamed:
        return finding.failing(_blame(blamed))
    if finding.decision is Decision.FAIL:
        finding = _guarded(finding, evidence, allowed, known)
    if noise.controlled and finding.insufficient_reason in _BY_EXCESS:
        return _by_excess(finding, evidence, allowed, known, low_coverage)
    if finding.decision is Decision.PASS and noise.controlled and evidence.triples < LEAST_TRIPLES:
        few = f"Too few triples: {evidence.triples:,} of the {LEAST_TRIPLES} that a pass needs."
        return finding.insufficient(f"{finding.reason} {few}", InsufficientReason.NOISE)
    return finding


def _by_excess(
    finding: Finding, evidence: Evidence, allowed: float, known: NoiseSet, low_coverage: str | None
) -> Finding:
    """Return a pass if v2 surely differs no more often than v1 itself, else the finding with the needed triples."""
    if passed := passes_by_excess(finding, evidence, allowed, known):
        return passed.insufficient(low_coverage, InsufficientReason.COVERAGE) if low_coverage else passed
    return msgspec.structs.replace(finding, triples_needed=triples_needed(evidence, allowed, known))


def judge_places(evidence: Evidence, known: NoiseSet, allowed: float) -> list[PlaceFinding]:
    """Return the findings for every place in the set, and for every other place where a triple differs."""
    triples = {route.route: route.triples.all for route in evidence.routes}
    alpha = ALPHA_PLACES / (2 * max(1, len(known.places)))
    found: list[PlaceFinding] = []
    for one in known.places:
        cells = evidence.cells.get(one.place, TripleCounts()).cells
        repeats = evidence.repeats.get(one.place, TripleCounts())
        seen = triples.get(one.route, 0)
        is_beyond = is_excess(seen, cells.raw, cells.noise, allowed, alpha)
        is_constant = is_excess(repeats.all, repeats.cells.raw, repeats.cells.noise, allowed, alpha)
        found.append(
            PlaceFinding(
                **one.place._asdict(),
                state="beyond" if is_beyond else "constant" if is_constant else "noise",
                learned_from=one.triples,
                learned=one.learned,
                triples=seen,
                cells=cells,
                blocks=repeats.all,
                repeats=repeats.cells,
            )
        )
    inside = {one.place for one in known.places}
    others = {place: counts.cells for place, counts in evidence.cells.items() if place not in inside}
    for place, cells in sorted(others.items(), key=lambda item: (-item[1].of_v2, item[0])):
        seen = triples.get(place.route, 0)
        is_v2 = is_excess(seen, cells.raw, cells.noise, 0.0, ALPHA_PLACES / len(others))
        found.append(PlaceFinding(**place._asdict(), state="v2" if is_v2 else "unclear", triples=seen, cells=cells))
    return found


def _blame(blamed: list[PlaceFinding]) -> str:
    one = max(blamed, key=lambda place: place.cells.of_v2)
    more = f" ({len(blamed) - 1} more places fail.)" if len(blamed) > 1 else ""
    where = f"{one.path} of {one.route}"
    if one.state == "beyond":
        counts = f"only v2 differs in {one.cells.raw:,} of {one.triples:,} triples, only v1 in {one.cells.noise:,}"
        return f"{where} differs beyond v1's own noise: {counts}.{more}"
    counts = f"v2 repeats its value in {one.repeats.raw:,} of {one.blocks:,} blocks, v1 in {one.repeats.noise:,}"
    return f"{where} is constant in v2 and changes in v1: {counts}.{more}"


def _guarded(finding: Finding, evidence: Evidence, allowed: float, known: NoiseSet) -> Finding:
    """Return a failing finding, or an insufficient one if noise that learning missed may explain the failure."""
    if sure := _sure(finding, evidence, allowed, known):
        return finding.failing(sure)
    cells = outside(evidence)
    sides = f"only v2 differs in {cells.raw:,} of {evidence.triples:,} triples, only v1 in {cells.noise:,}"
    return finding.insufficient(
        f"{finding.reason} Too few triples to tell v2 from noise: {sides}.", InsufficientReason.NOISE
    )


def _sure(finding: Finding, evidence: Evidence, allowed: float, known: NoiseSet) -> str | None:
    """Return why v2 fails in the target or in a route, even if learning missed noise."""
    n, k = evidence.compared, evidence.mismatches
    if target_fails(n, k, allowed) and _is_beyond(evidence, allowed, known):
        return at_least(differ(n, k), finding.interval.lower, allowed)
    for place, (route, found) in enumerate(zip(evidence.routes, finding.routes, strict=True), start=1):
        cells, alpha = route.triples.cells, _GUARD_ROUTES / (place * (place + 1))
        if found.state == "fails" and is_excess(route.triples.all, cells.raw, cells.noise, allowed, alpha):
            return at_least(differ(route.compared, route.mismatches, route.route), found.lower, allowed)
    return None


def _is_beyond(evidence: Evidence, allowed: float, known: NoiseSet) -> bool:
    """Return whether v2 differs more often than v1 differs from itself: by the triples, or certainly by all pairs."""
    triples, cells = evidence.triples, outside(evidence)
    if is_excess(triples, cells.raw, cells.noise, allowed, _BETS):
        return True
    n, distinct = evidence.compared, sum(route.distinct for route in evidence.routes)
    missed = min(
        upper_end(known.checked, min(known.missed, known.checked), allowed, _PAIRS / 2),
        upper_end(triples, min(cells.of_v1, triples), allowed, _PAIRS / 2),
    )
    return lower_end(n, min(distinct, n), allowed, _PAIRS) > allowed + missed
