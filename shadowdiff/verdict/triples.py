"""Count the places where v2 and the control differ from the primary, during learning and in a run.

Repeats of a request within a second count once. Only the class of a value is stored, and whether a side repeats the
value. Two triples form a block: each side's two values are compared and then deleted, so blocks are independent of each
other. The state between triples is limited in size and stays in this process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import OTHER, Comparison, Difference, Expire, Incr, Pair, Write
from shadowdiff.verdict.counts import PATTERN_CHARS, CountCaps, Fold, field_of
from shadowdiff.verdict.noise_set import NONE, Cells, Place, learning_key
from shadowdiff.verdict.run_store import LIFE_S
from shadowdiff.verdict.value_class import change_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

AGAIN_MS: Final = 1000
_RECENT: Final = 8192
_CELLS: Final = ("raw", "noise", "both")


class Recent:
    """The requests that were counted within the last second."""

    def __init__(self) -> None:
        self._at: dict[int, int] = {}

    def is_new(self, pair: Pair) -> bool:
        """Return whether this request counts; if so, remember it."""
        asked = pair.candidate
        name, at_ms = hash((pair.target, asked.method, asked.path, asked.request_body)), asked.at_ms
        last = self._at.pop(name, None)
        if last is not None and 0 <= at_ms - last < AGAIN_MS:
            self._at[name] = last
            return False
        self._at[name] = at_ms
        if len(self._at) > _RECENT:
            del self._at[next(iter(self._at))]
        return True


def places_of(pair: Pair, comparison: Comparison, at_ms: int) -> dict[Place, Difference]:
    """Return the places with differences that no rule covers, each with its first difference."""
    found: dict[Place, Difference] = {}
    for one in comparison.differences:
        if one.rule is None:
            change = change_of(one.kind, one.primary, one.candidate, at_ms)
            found.setdefault(Place(pair.route, one.pattern[:PATTERN_CHARS], one.kind.value, change), one)
    return found


def is_whole(comparison: Comparison, caps: CountCaps) -> bool:
    """Return whether every difference that counts is listed."""
    return not comparison.unlisted or sum(d.rule is None for d in comparison.differences) < caps.differences


class Tally:
    """Creates the writes for one target's triples."""

    def __init__(self, caps: CountCaps) -> None:
        self._caps = caps
        self._recent = Recent()
        self._before: dict[Place, tuple[int, int]] = {}

    def learned(
        self, target: str, generation: int, pair: Pair, raw: Comparison, noise: Comparison | None
    ) -> tuple[Write, ...]:
        """Return the writes of one triple for learning; if there is no control, the candidate is v1 (calibration)."""
        if not self._recent.is_new(pair):
            return ()
        half = str(pair.key[0] & 1)
        seen = places_of(pair, raw, pair.candidate.at_ms)
        cells = dict.fromkeys(seen, "noise") if noise is None else _cells(seen, _of_control(pair, noise))
        fields = (field_of(*place, half, cell) for place, cell in cells.items())
        cap = self._caps.paths * len(_CELLS) * 2
        return (
            *_count(learning_key(target, generation, "triples"), self._caps.routes * 2, [field_of(pair.route, half)]),
            *_count(learning_key(target, generation, "cells"), cap, fields),
        )

    def counted(
        self, prefix: str, known: frozenset[Place], pair: Pair, raw: Comparison, noise: Comparison
    ) -> tuple[Write, ...]:
        """Return the writes of one triple in a run with the noise set `known`.

        prefix: the key of the run's counts, without the group's name.
        """
        if not self._recent.is_new(pair):
            return ()
        seen, control = places_of(pair, raw, pair.candidate.at_ms), _of_control(pair, noise)
        ours = not is_whole(raw, self._caps) or any(place not in known for place in seen)
        theirs = not is_whole(noise, self._caps) or any(place not in known for place in control)
        which = ["all", _cell(ours=ours, theirs=theirs)] if ours or theirs else ["all"]
        cells = _cells(seen, control)
        both = [(place, seen[place], control[place]) for place in seen if place in control and place in known]
        return (
            *_count(f"{prefix}triples", self._caps.routes * 4, (field_of(pair.route, each) for each in which)),
            *_count(f"{prefix}cells", self._caps.paths * 3, (field_of(*place, cell) for place, cell in cells.items())),
            *_count(f"{prefix}repeats", self._caps.paths * 4, self._repeats(both)),
        )

    def _repeats(self, both: Iterable[tuple[Place, Difference, Difference]]) -> Iterator[str]:
        """Yield the field of each side that repeats its value within a block."""
        for place, ours, theirs in both:
            now = hash(ours.candidate), hash(theirs.candidate)
            before = self._before.pop(place, None)
            if before is None:
                if len(self._before) < self._caps.paths:
                    self._before[place] = now
                continue
            yield field_of(*place, "all")
            if now[0] == before[0] or now[1] == before[1]:
                yield field_of(*place, _cell(ours=now[0] == before[0], theirs=now[1] == before[1]))


def _of_control(pair: Pair, noise: Comparison) -> dict[Place, Difference]:
    return places_of(pair, noise, pair.control.at_ms if pair.control else pair.candidate.at_ms)


def _cell(*, ours: bool, theirs: bool) -> str:
    return "both" if ours and theirs else "raw" if ours else "noise"


def _cells(seen: Mapping[Place, Difference], control: Mapping[Place, Difference]) -> dict[Place, str]:
    return {place: _cell(ours=place in seen, theirs=place in control) for place in seen.keys() | control.keys()}


def _count(key: str, cap: int, fields: Iterable[str]) -> list[Write]:
    """Return the writes that increment these fields of a hash."""
    writes: list[Write] = [Incr(key, field, 1, cap) for field in fields]
    return [*writes, Expire(key, LIFE_S)] if writes else []


class TripleCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a route's triples or of a place's blocks: all, and those in which a side differs or repeats."""

    all: int = 0
    cells: Cells = NONE


def read_cells(fields: Mapping[str, int], fold: Fold = str) -> tuple[dict[Place, TripleCounts], int]:
    """Return the counts by place, and the overflow count."""
    counted: defaultdict[Place, Counter[str]] = defaultdict(Counter)
    for field, count in fields.items():
        if field != OTHER:
            route, *place, cell = msgspec.json.decode(field, type=list[str])
            counted[Place(fold(route), *place)][cell] += count
    return {place: _triple_counts(cells) for place, cells in counted.items()}, fields.get(OTHER, 0)


def read_triples(fields: Mapping[str, int], fold: Fold = str) -> dict[str, TripleCounts]:
    """Return counts by route; the overflow is under `_other`, without differences."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for field, count in fields.items():
        route, cell = (OTHER, "all") if field == OTHER else msgspec.json.decode(field, type=tuple[str, str])
        counted[route if field == OTHER else fold(route)][cell] += count
    return {route: _triple_counts(cells) for route, cells in counted.items() if "all" in cells}


def _triple_counts(cells: Counter[str]) -> TripleCounts:
    return TripleCounts(all=cells["all"], cells=Cells(*(cells[name] for name in _CELLS)))
