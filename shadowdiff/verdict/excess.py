"""Let a noisy service pass: decide on the excess of v2's differences over v1's own, and forecast the triples for it.

Pure. Noise that learning missed can raise the mismatch ratio of two equal versions above the limit for ever. The
triples show how often v2 alone and the control alone differ. If the difference of both shares is surely within the
limit, v2 passes. A wrong pass has a probability of at most ALPHA_EXCESS.

Noise of v1 in one place never hides a fault of v2 in another place. The surplus of a place where the control differs
significantly more often than v2 is not counted, and v2 does not pass if it significantly exceeds the limit in a place.
A route that fails or is suspect passes only if v1's own noise on this route explains its mismatches.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from shadowdiff.verdict.decide import ALPHA, SUSPECT, Finding, percent
from shadowdiff.verdict.noise_set import NONE, Cells, NoiseSet
from shadowdiff.verdict.sequence import chance_of_so_many, has_no_excess, is_excess, triples_until_no_excess

if TYPE_CHECKING:
    from shadowdiff.verdict.decide import RouteFinding
    from shadowdiff.verdict.evidence import Evidence, RouteEvidence

ALPHA_EXCESS: Final = ALPHA / 2
"""The error of a pass by the excess. The rest of ALPHA is the error of a pass by the mismatch ratio."""
LEAST_TRIPLES: Final = 100
"""A pass with a control needs this number of triples. Fewer could not reveal a constant in v2."""
LEAST_NOISE: Final = 10
"""Fewer triples in which v1 differs from itself say too little about the noise of a route."""
SAMPLES: Final = (0.1, 0.2, 0.5, 1.0)
"""The values of `control.sample` that a forecast proposes."""
SOON_S: Final = 3600.0
"""A forecast proposes the smallest sample that gives the triples within this time."""


def outside(evidence: Evidence) -> Cells:
    """Return the triples that differ outside the noise set: only v2, only the control, or both."""
    return sum((route.triples.cells for route in evidence.routes), NONE)


def passes_by_excess(finding: Finding, evidence: Evidence, allowed: float, known: NoiseSet) -> Finding | None:
    """Return a passing finding if v2 surely differs at most `allowed` more often than v1 differs from itself."""
    n, cells = evidence.triples, _compensable(evidence, known)
    if n < LEAST_TRIPLES or not has_no_excess(n, cells.raw, cells.noise, allowed, ALPHA_EXCESS):
        return None
    if _exceeds_in_a_place(evidence, allowed, known) or evidence.overflow > allowed * n:
        return None
    for route, found in zip(evidence.routes, finding.routes, strict=True):
        if found.state in {"fails", "suspect"} and not _is_explained(route, found, allowed):
            return None
    shown = outside(evidence)
    return finding.passing(
        f"v2 differs at most {percent(allowed)} more often than v1 differs from itself: "
        f"only v2 in {shown.raw:,} of {n:,} triples, only v1 in {shown.noise:,}."
    )


def triples_needed(evidence: Evidence, allowed: float, known: NoiseSet) -> int | None:
    """Return how many more triples a pass by the excess needs, if v2 is equal to v1; None if none suffices."""
    cells = _compensable(evidence, known)
    more = triples_until_no_excess(evidence.triples, cells.raw, cells.noise, allowed, ALPHA_EXCESS)
    return None if more is None else max(more, LEAST_TRIPLES - evidence.triples)


def _compensable(evidence: Evidence, known: NoiseSet) -> Cells:
    """Return the triples that differ, without the surplus of places where v1 is significantly noisier than v2."""
    cells, inside = outside(evidence), {one.place for one in known.places}
    seen = {route.route: route.triples.all for route in evidence.routes}
    surplus = sum(
        counts.cells.noise - counts.cells.raw
        for place, counts in evidence.cells.items()
        if place not in inside
        and is_excess(seen.get(place.route, 0), counts.cells.noise, counts.cells.raw, 0.0, SUSPECT)
    )
    return Cells(raw=cells.raw, noise=max(0, cells.noise - surplus), both=cells.both)


def _exceeds_in_a_place(evidence: Evidence, allowed: float, known: NoiseSet) -> bool:
    """Return whether v2 significantly exceeds the limit in one place outside the noise set."""
    inside = {one.place for one in known.places}
    others = [counts.cells for place, counts in evidence.cells.items() if place not in inside]
    n = evidence.triples
    return any(is_excess(n, cells.raw, cells.noise, allowed, SUSPECT / len(others)) for cells in others)


def _is_explained(route: RouteEvidence, found: RouteFinding, allowed: float) -> bool:
    """Return whether v1's own noise on a route explains its mismatches; with too little noise there, it does not."""
    noise, triples = route.triples.cells.of_v1, route.triples.all
    if noise < LEAST_NOISE:
        return False
    most = min(1.0, allowed + (noise + 2 * math.sqrt(noise) + 2) / triples)
    return chance_of_so_many(found.compared, found.mismatches, most) >= SUSPECT


def sample_for(needed: int, sample: float, triples_per_s: float) -> tuple[float, float] | None:
    """Return the proposed `control.sample` and the seconds until it gives the needed triples; None without traffic.

    sample: the current one, at which `triples_per_s` triples arrive. The result is the smallest larger sample that is
    fast enough, or 1.
    """
    if not needed or triples_per_s <= 0 or sample <= 0:
        return None
    larger = [one for one in SAMPLES if one > sample]
    waits = [(one, needed / (triples_per_s * one / sample)) for one in larger]
    return next((one for one in waits if one[1] <= SOON_S), waits[-1] if waits else None)
