"""Count where v2 and where the control differ from the primary: while learning, and in an epoch.

In: a pair with its comparison, and the control's comparison with the same primary.  Out: writes.
Holds: a request that comes again within a second counts once, whatever came of it, so that a burst of one request is
one fact; of values only their class and whether one side says the same twice goes out. What is remembered between
triples (when a request was last counted, a hash of a side's last value) stays in this process, and has bounds.
Two triples make a block: each side's two values are compared with each other, and then forgotten, so that blocks are
independent of one another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from shadowdiff.model import Comparison, Expire, Incr, Pair, Write
from shadowdiff.verdict.change import change_of
from shadowdiff.verdict.noise import Cells, Learned, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowdiff.model import Difference

AGAIN_MS: Final = 1000
LIFE_S: Final = 35 * 86_400
_RECENT: Final = 8192
_PATTERN_CHARS: Final = 300
_CELLS: Final = ("raw", "noise", "both")
OTHER: Final = "_other"


class TripleBounds(NamedTuple):
    """How much is kept apart: routes and places of a target, and how many differences a comparison lists."""

    routes: int = 200
    paths: int = 1000
    differences: int = 100


class Recent:
    """Which requests were counted within the last second."""

    def __init__(self) -> None:
        self._at: dict[int, int] = {}

    def is_new(self, pair: Pair) -> bool:
        """Return whether this request counts, and remember that it does."""
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
    """Return the places where a pair differs and no rule covers it, each with its first difference."""
    found: dict[Place, Difference] = {}
    for one in comparison.differences:
        if one.rule is None:
            change = change_of(one.kind, one.primary, one.candidate, at_ms)
            found.setdefault(Place(pair.route, one.pattern[:_PATTERN_CHARS], one.kind.value, change), one)
    return found


def is_whole(comparison: Comparison, bounds: TripleBounds) -> bool:
    """Return whether every difference that counts is listed."""
    return not comparison.unlisted or sum(d.rule is None for d in comparison.differences) < bounds.differences


def learning_key(target: str, generation: int, group: str) -> str:
    """Return the key of what is counted while learning."""
    return f"noise:{target}:{generation}:{group}"


class Tally:
    """Makes the writes of one target's triples."""

    def __init__(self, bounds: TripleBounds) -> None:
        self._bounds = bounds
        self._recent = Recent()
        self._recent_mismatches = Recent()
        self._before: dict[Place, tuple[int, int]] = {}

    def is_distinct(self, pair: Pair) -> bool:
        """Return whether a mismatch is the first of its request within a second."""
        return self._recent_mismatches.is_new(pair)

    def learned(
        self, target: str, generation: int, pair: Pair, raw: Comparison, noise: Comparison | None
    ) -> tuple[Write, ...]:
        """Return the writes of one triple while learning; without a control the candidate is v1 (calibration)."""
        if not self._recent.is_new(pair):
            return ()
        half = str(pair.key[0] & 1)
        seen = places_of(pair, raw, pair.candidate.at_ms)
        if noise is None:
            cells: dict[Place, str] = dict.fromkeys(seen, "noise")
        else:
            cells = _cells(seen, _of_control(pair, noise))
        key, counted = learning_key(target, generation, "cells"), learning_key(target, generation, "triples")
        writes: list[Write] = [Incr(counted, _field(pair.route, half), 1, self._bounds.routes * 2)]
        writes += [
            Incr(key, _field(*place, half, cell), 1, self._bounds.paths * len(_CELLS) * 2)
            for place, cell in cells.items()
        ]
        return (*writes, Expire(counted, LIFE_S), Expire(key, LIFE_S))

    def counted(
        self, prefix: str, known: frozenset[Place], pair: Pair, raw: Comparison, noise: Comparison
    ) -> tuple[Write, ...]:
        """Return the writes of one triple in an epoch whose noise set is `known`.

        prefix: the key of the epoch's counts, to which the group's name is added.
        """
        if not self._recent.is_new(pair):
            return ()
        seen, control = places_of(pair, raw, pair.candidate.at_ms), _of_control(pair, noise)
        ours = not is_whole(raw, self._bounds) or any(place not in known for place in seen)
        theirs = not is_whole(noise, self._bounds) or any(place not in known for place in control)
        group, cap = f"{prefix}triples", self._bounds.routes * 4
        writes: list[Write] = [Incr(group, _field(pair.route, "all"), 1, cap)]
        if ours or theirs:
            writes.append(Incr(group, _field(pair.route, _cell(ours=ours, theirs=theirs)), 1, cap))
        writes.append(Expire(group, LIFE_S))
        cells = _cells(seen, control)
        if cells:
            key, cap = f"{prefix}cells", self._bounds.paths * len(_CELLS)
            writes += [Incr(key, _field(*place, cell), 1, cap) for place, cell in cells.items()]
            writes.append(Expire(key, LIFE_S))
            writes += self._repeats(
                f"{prefix}repeats",
                {
                    place: (seen[place], control[place])
                    for place, cell in cells.items()
                    if cell == "both" and place in known
                },
            )
        return tuple(writes)

    def _repeats(self, key: str, both: Mapping[Place, tuple[Difference, Difference]]) -> Iterable[Write]:
        """Yield the writes on whether each side says the same in both triples of a block."""
        for place, (ours, theirs) in both.items():
            now = hash(ours.candidate), hash(theirs.candidate)
            before = self._before.pop(place, None)
            if before is None:
                if len(self._before) < self._bounds.paths:
                    self._before[place] = now
                continue
            again = now[0] == before[0], now[1] == before[1]
            cap = self._bounds.paths * (len(_CELLS) + 1)
            yield Incr(key, _field(*place, "all"), 1, cap)
            if again[0] or again[1]:
                yield Incr(key, _field(*place, _cell(ours=again[0], theirs=again[1])), 1, cap)
            yield Expire(key, LIFE_S)


def _of_control(pair: Pair, noise: Comparison) -> dict[Place, Difference]:
    return places_of(pair, noise, pair.control.at_ms if pair.control else pair.candidate.at_ms)


def _cell(*, ours: bool, theirs: bool) -> str:
    return "both" if ours and theirs else "raw" if ours else "noise"


def _cells(seen: Iterable[Place], control: Iterable[Place]) -> dict[Place, str]:
    ours, theirs = set(seen), set(control)
    return {place: _cell(ours=place in ours, theirs=place in theirs) for place in ours | theirs}


def _field(*parts: str) -> str:
    return msgspec.json.encode(parts).decode()


class TripleCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Triples of a route (or a block's of a place): how many, and in which the sides differ outside the noise set."""

    all: int = 0
    cells: Cells = Cells()


def read_halves(triples: Mapping[str, int], cells: Mapping[str, int]) -> tuple[Learned, Learned]:
    """Return what was counted while learning, by halves; what overflowed counts in the half that measures."""
    routes: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for field, count in triples.items():
        route, half = (OTHER, "1") if field == OTHER else msgspec.json.decode(field, type=tuple[str, str])
        routes[int(half)][route] = routes[int(half)].get(route, 0) + count
    found: tuple[dict[Place, Cells], dict[Place, Cells]] = ({}, {})
    for field, count in cells.items():
        if field != OTHER:
            *place, half, cell = msgspec.json.decode(field, type=list[str])
            _add(found[int(half)], Place(*place), cell, count)
    overflow = cells.get(OTHER, 0)
    return (
        Learned(triples=routes[0], cells=found[0]),
        Learned(triples=routes[1], cells=found[1], overflow=overflow),
    )


def read_cells(fields: Mapping[str, int]) -> tuple[dict[Place, TripleCounts], int]:
    """Return counts by place, and how many found no room."""
    found: dict[Place, Cells] = {}
    total: dict[Place, int] = {}
    for field, count in fields.items():
        if field != OTHER:
            *parts, cell = msgspec.json.decode(field, type=list[str])
            place = Place(*parts)
            total.setdefault(place, 0)
            if cell == "all":
                total[place] = count
            else:
                _add(found, place, cell, count)
    return {p: TripleCounts(all=n, cells=found.get(p, Cells())) for p, n in total.items()}, fields.get(OTHER, 0)


def read_triples(fields: Mapping[str, int]) -> dict[str, TripleCounts]:
    """Return counts by route; what overflowed stands under `_other`, as differing nowhere."""
    total: dict[str, int] = {}
    cells: dict[str, Cells] = {}
    for field, count in fields.items():
        route, cell = (OTHER, "all") if field == OTHER else msgspec.json.decode(field, type=tuple[str, str])
        if cell == "all":
            total[route] = total.get(route, 0) + count
        else:
            _add(cells, route, cell, count)
    return {route: TripleCounts(all=n, cells=cells.get(route, Cells())) for route, n in total.items()}


Name = TypeVar("Name", Place, str)


def _add(into: dict[Name, Cells], name: Name, cell: str, count: int) -> None:
    """Add to one of the three cells."""
    into[name] = into.get(name, Cells()) + Cells(**{cell: count})
