"""What v1 differs in from itself: the noise set, how it is chosen, and what it may have missed.

In: of the triples of a time of learning, where v2 and where the control differed from the primary.  Out: `NoiseSet`.
Holds: pure. A place is a route, a pattern, a kind and the class of the value that stands there, so that a value of
another class under a path that always differs is another place. v1 differing there from itself once proves that it
can; but a place where v2 differs beyond that is no noise. What was chosen is held against triples that it was not
chosen from, so that it is known how much noise it misses.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from shadowdiff.verdict.excess import is_excess
from shadowdiff.verdict.sequence import upper_end

ALPHA_BLAME: Final = 0.01
"""The level, shared over all places, at which learning leaves a place out since v2 differs there beyond noise."""
_MOST_BAD: Final = 0.5
"""A control that answers another status oftener than this is broken, and no measure."""


class Source(StrEnum):
    """Who showed the noise: a control, or a candidate that was v1 for a while."""

    CONTROL = "control"
    CALIBRATION = "calibration"


class Place(NamedTuple):
    """Where and how an answer differs from v1's; `change` is the class of what stands there instead."""

    route: str
    path: str
    kind: str
    change: str


class Cells(msgspec.Struct, frozen=True, gc=False):
    """Of some triples, in how many v2 alone differs in a place (raw), the control alone (noise), both."""

    raw: int = 0
    noise: int = 0
    both: int = 0

    def __add__(self, other: Cells) -> Cells:
        return Cells(self.raw + other.raw, self.noise + other.noise, self.both + other.both)

    @property
    def of_v1(self) -> int:
        """Triples in which v1 differs from itself."""
        return self.noise + self.both

    @property
    def of_v2(self) -> int:
        """Triples in which v2 differs from v1."""
        return self.raw + self.both


NONE: Final = Cells()


class NoisePlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place of the noise set with what it was learned from."""

    route: str
    path: str
    kind: str
    change: str
    triples: int
    learned: Cells

    @property
    def place(self) -> Place:
        """The place."""
        return Place(self.route, self.path, self.kind, self.change)


class NoiseSet(msgspec.Struct, frozen=True, kw_only=True):
    """The frozen set.

    triples: how many it was learned from.  checked, missed: of those that it was not chosen from, in how many v1
    differed from itself outside of what had been chosen.  candidate: the address that was v2 meanwhile.
    """

    version: int
    source: Source
    frozen_ms: int
    triples: int
    checked: int
    missed: int
    places: tuple[NoisePlace, ...] = ()
    candidate: str = ""

    def missed_at_most(self, allowed: float, alpha: float) -> float:
        """Return the largest share of answers in which v1 may differ from itself outside of the set."""
        return upper_end(self.checked, min(self.missed, self.checked), allowed, alpha)


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in one half of the triples: by route, and by place; `overflow` found no room."""

    triples: Mapping[str, int] = {}
    cells: Mapping[Place, Cells] = {}
    overflow: int = 0

    @property
    def total(self) -> int:
        """All triples."""
        return sum(self.triples.values())


def choose(halves: tuple[Learned, Learned], *, version: int, source: Source, now_ms: int, candidate: str) -> NoiseSet:
    """Return the noise set that both halves of the triples support; the second one also measures the first."""
    first, second = halves
    routes = {route: first.triples.get(route, 0) + second.triples.get(route, 0) for route in _names(halves)}
    whole = {
        place: first.cells.get(place, NONE) + second.cells.get(place, NONE) for place in {*first.cells, *second.cells}
    }
    chosen = {
        place
        for place, cells in whole.items()
        if cells.of_v1 and _is_noise(place, cells, routes.get(place.route, 0), len(whole))
    }
    before = {place for place in chosen if place in first.cells and first.cells[place].of_v1}
    missed = sum(cells.of_v1 for place, cells in second.cells.items() if place not in before) + second.overflow
    places = [
        NoisePlace(**place._asdict(), triples=routes.get(place.route, 0), learned=whole[place])
        for place in sorted(chosen)
    ]
    return NoiseSet(
        version=version,
        source=source,
        frozen_ms=now_ms,
        triples=first.total + second.total,
        checked=second.total,
        missed=missed,
        places=tuple(places),
        candidate=candidate,
    )


def _names(halves: tuple[Learned, Learned]) -> set[str]:
    return {*halves[0].triples, *halves[1].triples}


def _is_noise(place: Place, cells: Cells, triples: int, places: int) -> bool:
    if place.kind == "status" and cells.of_v1 > _MOST_BAD * triples:
        return False
    return not is_excess(triples, cells.raw, cells.noise, 0.0, ALPHA_BLAME / places)
