"""The noise set (the places where v1 differs from itself): choose the places, and store the state in Redis.

A place is a route, a pattern, a kind and the class of the value. So a new class of value at a noisy path is a separate
place. A place where v1 differs from itself at least once is in the set, unless v2 differs there more often than noise
explains. The set is not measured with the triples from which it was chosen. A frozen set never changes; the next
version replaces it. If several processes change the state at the same time, only one change succeeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from shadowdiff.model import OTHER
from shadowdiff.rules.place import is_coarse
from shadowdiff.store import Script, number, reading
from shadowdiff.verdict.sequence import is_excess

if TYPE_CHECKING:
    from shadowdiff.store import Store

_CHANGE: Final = Script.from_package("shadowdiff.verdict.lua", "change_noise.lua")

ALPHA_BLAME: Final = 0.01
"""The error, shared by all places, with which learning leaves out a place because v2 differs there beyond noise."""
_MOST_BAD: Final = 0.5
"""If the control returns another status more often than this, it is broken, and its status is not noise."""


class Source(StrEnum):
    """The source of noise data: a control, or a candidate that ran v1 during calibration."""

    CONTROL = "control"
    CALIBRATION = "calibration"


class Place(NamedTuple):
    """Where and how a response differs from v1's response; `change` is the class of the new value."""

    route: str
    path: str
    kind: str
    change: str


class Cells(msgspec.Struct, frozen=True, gc=False):
    """The number of triples in which only v2 differs (raw), only the control differs (noise), or both differ."""

    raw: int = 0
    noise: int = 0
    both: int = 0

    def __add__(self, other: Cells) -> Cells:
        return Cells(self.raw + other.raw, self.noise + other.noise, self.both + other.both)

    @property
    def of_v1(self) -> int:
        """The number of triples in which v1 differs from itself."""
        return self.noise + self.both

    @property
    def of_v2(self) -> int:
        """The number of triples in which v2 differs from v1."""
        return self.raw + self.both


NONE: Final = Cells()


class NoisePlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the noise set, and the counts that it was learned from."""

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
    """A frozen noise set.

    triples: the number of triples that the set was learned from. checked: the triples that measure the set. missed: the
    checked triples in which v1 differs from itself outside the set. candidate: v2's address during learning.
    """

    version: int
    source: Source
    frozen_ms: int
    triples: int
    checked: int
    missed: int
    places: tuple[NoisePlace, ...] = ()
    candidate: str = ""


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one half of the triples, by route and by place; `overflow`: counts beyond the limit."""

    triples: Mapping[str, int] = {}
    cells: Mapping[Place, Cells] = {}
    overflow: int = 0

    @property
    def total(self) -> int:
        """All triples."""
        return sum(self.triples.values())


def choose(halves: tuple[Learned, Learned], *, version: int, source: Source, now_ms: int, candidate: str) -> NoiseSet:
    """Return the noise set that both halves support; the second half also measures the first half's choice."""
    first, second = halves
    routes, whole = Counter(first.triples) + Counter(second.triples), dict(first.cells)
    for place, cells in second.cells.items():
        whole[place] = whole.get(place, NONE) + cells
    chosen = {place for place, cells in whole.items() if _is_noise(place, cells, routes[place.route], len(whole))}
    before = {place for place in chosen if place in first.cells and first.cells[place].of_v1}
    missed = sum(cells.of_v1 for place, cells in second.cells.items() if place not in before) + second.overflow
    places = [
        NoisePlace(**place._asdict(), triples=routes[place.route], learned=whole[place]) for place in sorted(chosen)
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


def extended(
    known: NoiseSet, seen: Learned, *, version: int, now_ms: int, least_share: float, most: int
) -> NoiseSet | None:
    """Return the set with the places outside it where v1 differs from itself in a run; None if they are too rare.

    seen: the run's triples. least_share: a smaller share of triples in which v1 differs outside the set does not
    matter. most: the maximum number of places. The next run measures the larger set, so nothing was checked yet.
    """
    inside = {one.place for one in known.places}
    outside = {place: cells for place, cells in seen.cells.items() if place not in inside}
    added = {
        place: cells
        for place, cells in outside.items()
        if _is_noise(place, cells, seen.triples.get(place.route, 0), len(outside))
    }
    room = max(0, most - len(known.places))
    added = dict(sorted(added.items(), key=lambda one: (-one[1].of_v1, one[0]))[:room])
    if not added or sum(cells.of_v1 for cells in added.values()) < max(2, least_share * seen.total):
        return None
    places = [
        *known.places,
        *(
            NoisePlace(**place._asdict(), triples=seen.triples.get(place.route, 0), learned=cells)
            for place, cells in sorted(added.items())
        ),
    ]
    return msgspec.structs.replace(
        known,
        version=version,
        frozen_ms=now_ms,
        triples=known.triples + seen.total,
        checked=0,
        missed=0,
        places=tuple(places),
    )


def _is_noise(place: Place, cells: Cells, triples: int, places: int) -> bool:
    """Return whether a place is noise. A coarse place never is, because it would hide every other line of a text."""
    if not cells.of_v1 or is_coarse(place.path) or (place.kind == "status" and cells.of_v1 > _MOST_BAD * triples):
        return False
    return not is_excess(triples, cells.raw, cells.noise, 0.0, ALPHA_BLAME / places)


def learning_key(target: str, generation: int, group: str) -> str:
    """Return the key of the counts from one learning period."""
    return f"noise:{target}:{generation}:{group}"


def read_halves(triples: Mapping[str, int], cells: Mapping[str, int]) -> tuple[Learned, Learned]:
    """Return the learned counts by half; the half that measures also gets the overflow."""
    routes: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for field, count in triples.items():
        route, half = (OTHER, "1") if field == OTHER else msgspec.json.decode(field, type=tuple[str, str])
        routes[int(half)][route] += count
    found: tuple[dict[Place, Cells], dict[Place, Cells]] = ({}, {})
    for field, count in cells.items():
        if field != OTHER:
            *place, half, cell = msgspec.json.decode(field, type=list[str])
            of_half, name = found[int(half)], Place(*place)
            of_half[name] = of_half.get(name, NONE) + Cells(**{cell: count})
    last = Learned(triples=routes[1], cells=found[1], overflow=cells.get(OTHER, 0))
    return Learned(triples=routes[0], cells=found[0]), last


class NoiseState(msgspec.Struct, frozen=True, kw_only=True):
    """One target's noise state.

    rev: increases with every change.  known: the current set.  learning: the generation that is now learned from
    `source` since `since_ms`, if any.  by: the author and the reason of this.
    """

    rev: int = 0
    known: NoiseSet | None = None
    learning: int | None = None
    source: Source = Source.CONTROL
    since_ms: int = 0
    generation: int = 0
    by: str = ""

    @property
    def version(self) -> str | None:
        """The version of the current set."""
        return str(self.known.version) if self.known else None

    @property
    def calibrates(self) -> bool:
        """Whether v2's address currently runs v1."""
        return self.learning is not None and self.source is Source.CALIBRATION


class NoiseStore:
    """The noise states of all targets. Its methods raise redis.exceptions.RedisError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, target: str) -> NoiseState:
        """Return a target's noise state."""
        found: Any = await self._store.command("HGETALL", self._store.keys.name(0, f"noise:{target}"))
        with reading(f"the noise of {target}"):
            return _state({name.decode(): value.decode() for name, value in found.items()}) if found else NoiseState()

    async def learn(self, target: str, state: NoiseState, source: Source, now_ms: int, by: str = "") -> bool:
        """Start learning; return whether this call started it."""
        generation = state.generation + 1
        return await self._change(
            target, state, learning=generation, generation=generation, source=source, since_ms=now_ms, by=by
        )

    async def learned(self, target: str, state: NoiseState) -> int:
        """Return the number of triples learned from so far."""
        if state.learning is None:
            return 0
        return sum((await self._store.counts(learning_key(target, state.learning, "triples"))).values())

    async def freeze(self, target: str, state: NoiseState, now_ms: int, candidate: str) -> NoiseSet | None:
        """Freeze the learned set as the next version; return None if another process did so first."""
        if state.learning is None:
            return None
        groups = [learning_key(target, state.learning, group) for group in ("triples", "cells")]
        triples, cells = await self._store.counts_of(groups)
        with reading(f"what was learned of the noise of {target}"):
            halves = read_halves(triples, cells)
        made = choose(halves, version=state.learning, source=state.source, now_ms=now_ms, candidate=candidate)
        done = await self._change(target, state, learning="", set=msgspec.json.encode(made))
        return made if done else None

    async def replace(self, target: str, state: NoiseState, made: NoiseSet) -> bool:
        """Replace the set; return whether this call replaced it."""
        return await self._change(target, state, generation=made.version, set=msgspec.json.encode(made))

    async def forget(self, target: str, state: NoiseState) -> bool:
        """Delete the noise set."""
        return await self._change(target, state, learning="", set="")

    async def _change(self, target: str, state: NoiseState, **fields: bytes | str | int) -> bool:
        args = [str(state.rev) if state.rev else "", *chain.from_iterable(fields.items())]
        return bool(await self._store.run(_CHANGE, 0, [f"noise:{target}"], args))


def _read_set(text: str) -> NoiseSet:
    """Return a stored set without coarse places, which older sets may have."""
    found = msgspec.json.decode(text, type=NoiseSet)
    return msgspec.structs.replace(found, places=tuple(one for one in found.places if not is_coarse(one.path)))


def _state(fields: Mapping[str, str]) -> NoiseState:
    return NoiseState(
        rev=number(fields["rev"]),
        known=_read_set(fields["set"]) if fields.get("set") else None,
        learning=number(fields["learning"]) if fields.get("learning") else None,
        source=Source(fields.get("source", "control")),
        since_ms=number(fields.get("since_ms", "0")),
        generation=number(fields.get("generation", "0")),
        by=fields.get("by", ""),
    )
