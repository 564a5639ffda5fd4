"""The verdict where v1's own noise is known: what is left out, what is blamed on v2, what neither can be said of.

In: what the counted mismatches say, the epoch's evidence, what is known of the noise.  Out: the finding with it.
Holds: pure. Two equal versions fail with a chance of at most ALPHA over all looks in an epoch, whatever they differ
in from themselves: mismatches above the limit fail v2 only where noise that learning missed does not explain them
(ALPHA_GUARD), and a place of the noise set only where v2 differs there oftener than v1 from itself, or says the same
again where v1 does not (ALPHA_PLACES, shared evenly over the places, half for either).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict.decide import (
    ALPHA,
    ALPHA_TARGET,
    LEAST_MISMATCHES,
    Decision,
    Finding,
    Lack,
    differ,
    percent,
)
from shadowdiff.verdict.excess import is_excess
from shadowdiff.verdict.noise import NONE, Cells, NoiseSet, Place, Source
from shadowdiff.verdict.noise_store import NoiseState
from shadowdiff.verdict.sequence import exceeds, lower_end, upper_end
from shadowdiff.verdict.triples import TripleCounts

if TYPE_CHECKING:
    from shadowdiff.verdict.evidence import Evidence, RouteEvidence

ALPHA_PLACES: Final = ALPHA / 5
ALPHA_GUARD: Final = ALPHA - ALPHA_PLACES
_GUARD_TARGET: Final = 0.75 * ALPHA_GUARD
_GUARD_ROUTES: Final = ALPHA_GUARD - _GUARD_TARGET
_BETS: Final = 0.9 * _GUARD_TARGET
_PAIRS: Final = 0.05 * _GUARD_TARGET
"""For the lower end of what v2 differs in, and as much for the upper ends of what noise may be missed."""
LEAST_TRIPLES: Final = 100
"""A pass needs so many where there is a control: fewer would not show a constant under a path that always differs."""


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a target's noise, and how far learning is; `controlled` where a control is configured."""

    state: NoiseState
    learned: int = 0
    learn: int = 1000
    controlled: bool = False

    @property
    def matters(self) -> bool:
        """Whether the verdict has to do with noise at all."""
        return self.controlled or self.state.known is not None or self.state.learning is not None


class NoiseTold(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict says of noise: the set in force, and what was left out because of it."""

    version: int | None
    source: Source | None = None
    learned_from: int = 0
    places: int = 0
    left_out: int = 0
    triples: int = 0
    overflow: int = 0


class PlaceFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One place: what it was learned from, what the epoch's triples say, and what that means.

    state: `noise`; `beyond` (v2 differs there oftener than v1 from itself); `constant` (v2 says the same again where
    v1 does not); of places outside the set, `v2` (blamed on it) or `unclear`.  triples: of its route, in the epoch.
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


def with_noise(finding: Finding, evidence: Evidence, allowed: float, noise: Noise, epoch_noise: str | None) -> Finding:
    """Return the finding, turned where noise calls for it."""
    if not noise.matters:
        return finding
    known = noise.state.known
    if noise.state.learning is not None or known is None or epoch_noise != noise.state.version:
        return _insufficient(finding, _learning(noise), Lack.LEARNING)
    blamed = [one for one in judge_places(evidence, known, allowed) if one.state in {"beyond", "constant"}]
    if blamed:
        return msgspec.structs.replace(
            finding, decision=Decision.FAIL, reason=_blame(blamed), lack=None, pairs_needed=0
        )
    triples = sum(route.triples.all for route in evidence.routes)
    if finding.decision is Decision.FAIL:
        return _guarded(finding, evidence, allowed, known)
    if finding.decision is Decision.PASS and noise.controlled and triples < LEAST_TRIPLES:
        told = f"{finding.reason}; the control saw {triples:,} of the {LEAST_TRIPLES} triples that a pass needs"
        return _insufficient(finding, told, Lack.NOISE)
    return finding


def judge_places(evidence: Evidence, known: NoiseSet, allowed: float) -> list[PlaceFinding]:
    """Return what is said of every place of the set, and of every other one at which a triple differed."""
    routes = {route.route: route.triples.all for route in evidence.routes}
    alpha = ALPHA_PLACES / (2 * max(1, len(known.places)))
    found = [
        PlaceFinding(
            **one.place._asdict(),
            state=_state(one.place, evidence, routes.get(one.route, 0), allowed, alpha),
            learned_from=one.triples,
            learned=one.learned,
            triples=routes.get(one.route, 0),
            cells=evidence.cells.get(one.place, _NO_TRIPLES).cells,
            blocks=evidence.repeats.get(one.place, _NO_TRIPLES).all,
            repeats=evidence.repeats.get(one.place, _NO_TRIPLES).cells,
        )
        for one in known.places
    ]
    inside = {one.place for one in known.places}
    others = {place: counts.cells for place, counts in evidence.cells.items() if place not in inside}
    return found + [
        PlaceFinding(
            **place._asdict(),
            state="v2"
            if is_excess(routes.get(place.route, 0), cells.raw, cells.noise, 0.0, ALPHA_PLACES / len(others))
            else "unclear",
            triples=routes.get(place.route, 0),
            cells=cells,
        )
        for place, cells in sorted(others.items(), key=lambda item: (-item[1].of_v2, item[0]))
    ]


_NO_TRIPLES: Final = TripleCounts()


def _guarded(finding: Finding, evidence: Evidence, allowed: float, known: NoiseSet) -> Finding:
    """Return a failing finding, held back where noise that learning missed may explain it."""
    sure = _sure(finding, evidence, allowed, known)
    if sure:
        return msgspec.structs.replace(finding, reason=sure)
    cells, triples = _together(evidence), sum(route.triples.all for route in evidence.routes)
    told = (
        f"{finding.reason}; but of {triples:,} triples v2 alone differs in {cells.raw:,} and v1 alone from itself "
        f"in {cells.noise:,}: too few to tell v2 from noise"
    )
    return _insufficient(finding, told, Lack.NOISE)


def _state(place: Place, evidence: Evidence, triples: int, allowed: float, alpha: float) -> str:
    cells = evidence.cells.get(place, _NO_TRIPLES).cells
    if is_excess(triples, cells.raw, cells.noise, allowed, alpha):
        return "beyond"
    repeats = evidence.repeats.get(place, _NO_TRIPLES)
    again = repeats.cells
    return "constant" if is_excess(repeats.all, again.raw, again.noise, allowed, alpha) else "noise"


def _blame(blamed: list[PlaceFinding]) -> str:
    one = max(blamed, key=lambda place: place.cells.of_v2)
    more = f" (and {len(blamed) - 1} more places)" if len(blamed) > 1 else ""
    where = f"{one.path} of {one.route}"
    if one.state == "beyond":
        return (
            f"of {one.triples:,} triples v2 alone differs in {where} in {one.cells.raw:,}, v1 alone from itself in "
            f"{one.cells.noise:,}: more than its noise{more}"
        )
    return (
        f"{where} always differs, but of {one.blocks:,} times v2 alone said the same twice in {one.repeats.raw:,}, "
        f"v1 in {one.repeats.noise:,}: a constant, where v1's changes{more}"
    )


def _learning(noise: Noise) -> str:
    if noise.state.learning is not None and noise.state.source is Source.CALIBRATION:
        return f"calibrating: v2 is taken for v1 until `shadowdiff calibrate stop`; {noise.learned:,} pairs so far"
    if noise.state.learning is None and noise.state.known is not None:
        return "the noise set changed a moment ago: its epoch opens within seconds"
    return f"learning: the control showed v1's own noise in {noise.learned:,} of {noise.learn:,} triples so far"


def _insufficient(finding: Finding, reason: str, lack: Lack) -> Finding:
    return msgspec.structs.replace(finding, decision=Decision.INSUFFICIENT, reason=reason, lack=lack, pairs_needed=None)


def _together(evidence: Evidence) -> Cells:
    return sum((route.triples.cells for route in evidence.routes), NONE)


def _sure(finding: Finding, evidence: Evidence, allowed: float, known: NoiseSet) -> str | None:
    """Return why v2 fails, where noise that the set misses explains it neither in the target nor in a route."""
    n, k = evidence.compared, evidence.mismatches
    least = LEAST_MISMATCHES if allowed > 0 else 1
    over = k >= least and exceeds(n, k, allowed, ALPHA_TARGET)
    if over and _is_beyond(evidence, allowed, known):
        return f"{differ(n, k)}, {percent(allowed)} is allowed"
    for place, (route, said) in enumerate(zip(evidence.routes, finding.routes, strict=True), start=1):
        if said.state == "fails" and _is_route_beyond(route, allowed, _GUARD_ROUTES / (place * (place + 1))):
            return f"of {route.route} {differ(route.compared, route.mismatches)}, {percent(allowed)} is allowed"
    return None


def _is_beyond(evidence: Evidence, allowed: float, known: NoiseSet) -> bool:
    """Return whether v2 differs oftener than v1 from itself: on the triples, or for sure from all pairs."""
    triples, cells = sum(route.triples.all for route in evidence.routes), _together(evidence)
    if is_excess(triples, cells.raw, cells.noise, allowed, _BETS):
        return True
    n, distinct = evidence.compared, sum(route.distinct for route in evidence.routes)
    missed = min(
        known.missed_at_most(allowed, _PAIRS / 2),
        upper_end(triples, min(cells.of_v1, triples), allowed, _PAIRS / 2),
    )
    return lower_end(n, min(distinct, n), allowed, _PAIRS) > allowed + missed


def _is_route_beyond(route: RouteEvidence, allowed: float, alpha: float) -> bool:
    cells = route.triples.cells
    return is_excess(route.triples.all, cells.raw, cells.noise, allowed, alpha)
