"""What an epoch has to say: its counts by route, read back.

In: a reader and an epoch.  Out: `Evidence`: pairs by result, per route in the order in which routes appeared.
Holds: reading changes nothing; what overflowed stands under the route `_other` with its result.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Result
from shadowdiff.store import reading
from shadowdiff.verdict.counts import OTHER, Fold, PathCount, TargetCounts, as_named
from shadowdiff.verdict.epoch_store import counts_key
from shadowdiff.verdict.noise import Place
from shadowdiff.verdict.triples import TripleCounts, read_cells, read_triples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.model.reader import StoreReader
    from shadowdiff.verdict.epoch import Epoch


class RouteEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """One route: its pairs by result, and where they differ (most first).

    left_out: pairs that differ in nothing but noise.  distinct: other mismatches, a request that comes again within a
    second once.  triples: what the control saw too.
    """

    route: str
    results: dict[str, int]
    paths: tuple[PathCount, ...] = ()
    left_out: int = 0
    distinct: int = 0
    triples: TripleCounts = TripleCounts()

    @property
    def compared(self) -> int:
        """Pairs of which something can be said."""
        return sum(self.results.values()) - self.results[Result.INCOMPARABLE]

    @property
    def mismatches(self) -> int:
        """Pairs that differ by more than noise."""
        return max(0, self.results[Result.MISMATCH] - self.left_out)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that counts in one epoch; the routes in the order of their first appearance.

    durations: per route, side and bucket, where a gate asks for them.
    aside: pairs that do not count, by reason: v2 answered `before` the epoch, as another `revision`, or a process
    compared by other `rules`.
    cells: of the triples, in how many each place differs.  repeats: of blocks of two triples that differ in a place of
    the noise set, in how many a side says the same twice.  overflow: triples' places that found no room.
    """

    target: str
    routes: tuple[RouteEvidence, ...] = ()
    aside: dict[str, int] = {}
    durations: dict[str, dict[str, dict[int, int]]] = {}
    cells: dict[Place, TripleCounts] = {}
    repeats: dict[Place, TripleCounts] = {}
    overflow: int = 0

    @property
    def results(self) -> dict[str, int]:
        """The pairs by result."""
        return {result.value: sum(route.results[result] for route in self.routes) for result in Result}

    @property
    def compared(self) -> int:
        """Pairs of which something can be said."""
        return sum(route.compared for route in self.routes)

    @property
    def mismatches(self) -> int:
        """Pairs that differ by more than noise."""
        return sum(route.mismatches for route in self.routes)

    @property
    def left_out(self) -> int:
        """Pairs that differ in nothing but noise."""
        return sum(route.left_out for route in self.routes)

    @classmethod
    def of_all(cls, counts: TargetCounts) -> Evidence:
        """Return everything ever counted as evidence: for a store that keeps no epochs."""
        routes = [
            RouteEvidence(route=route.route, results=route.results, paths=route.paths)
            for route in sorted(counts.routes, key=lambda one: one.route)
        ]
        return cls(target=counts.target, routes=tuple(routes))


_NOISE: Final = ("left_out", "distinct", "triples", "cells", "repeats")
_GROUPS: Final = (*(result.value for result in Result), "paths", "routes", "aside", "latency", *_NOISE)


async def read_evidence(reader: StoreReader, target: str, epoch: Epoch, fold: Fold = as_named) -> Evidence:
    """Return what counts in an epoch, in one call a shard.

    fold: what a route is called by now; a route's place is that of the first of its names.
    """
    hashes = await reader.counts_of([counts_key(target, epoch.id, name) for name in _GROUPS])
    with reading(f"the evidence of {target} in epoch {epoch.id}"):
        return _evidence(target, epoch, dict(zip(_GROUPS, hashes, strict=True)), fold)


def _evidence(target: str, epoch: Epoch, group: Mapping[str, dict[str, int]], fold: Fold) -> Evidence:
    of_noise = {name: group[name] if epoch.noise is not None else {} for name in _NOISE}
    results = {result.value: _folded(group[result], fold) for result in Result}
    paths = _paths(group["paths"], fold)
    places: dict[str, int] = {}
    for route, place in group["routes"].items():
        places[fold(route)] = min(place, places.get(fold(route), place))
    left_out, distinct = _folded(of_noise["left_out"], fold), _folded(of_noise["distinct"], fold)
    triples = read_triples(_refielded(of_noise["triples"], fold))
    cells, overflow = read_cells(_refielded(of_noise["cells"], fold))
    repeats, _ = read_cells(_refielded(of_noise["repeats"], fold))
    names = {route for counted in results.values() for route in counted}
    routes = [
        RouteEvidence(
            route=route,
            results={result: counted.get(route, 0) for result, counted in results.items()},
            paths=tuple(sorted(paths.get(route, ()), key=lambda path: (-path.count, path.path, path.kind))),
            left_out=left_out.get(route, 0),
            distinct=distinct.get(route, 0),
            triples=triples.get(route, TripleCounts()),
        )
        for route in _in_order(names, places)
    ]
    return Evidence(
        target=target,
        routes=tuple(routes),
        aside=group["aside"],
        durations=_durations(group["latency"], fold),
        cells=cells,
        repeats=repeats,
        overflow=overflow,
    )


def _folded(counts: Mapping[str, int], fold: Fold) -> dict[str, int]:
    """Return counts by route, under what each is called by now."""
    total: Counter[str] = Counter()
    for route, count in counts.items():
        total[fold(route)] += count
    return dict(total)


def _refielded(counts: Mapping[str, int], fold: Fold) -> dict[str, int]:
    """Return counts whose fields begin with a route, under what each is called by now."""
    total: Counter[str] = Counter()
    for field, count in counts.items():
        if field == OTHER:
            total[field] += count
            continue
        route, *rest = msgspec.json.decode(field, type=list[str])
        total[field if fold(route) == route else msgspec.json.encode([fold(route), *rest]).decode()] += count
    return dict(total)


def _durations(counted: Mapping[str, int], fold: Fold) -> dict[str, dict[str, dict[int, int]]]:
    found: dict[str, dict[str, dict[int, int]]] = {}
    for field, count in counted.items():
        if field != OTHER:
            route, side, bucket = msgspec.json.decode(field, type=tuple[str, str, str])
            spread = found.setdefault(fold(route), {}).setdefault(side, {})
            spread[int(bucket)] = spread.get(int(bucket), 0) + count
    return found


def _in_order(names: set[str], places: Mapping[str, int]) -> list[str]:
    """Return the routes in the order of their places; those that have none yet come last."""
    return sorted(names, key=lambda route: (places.get(route, len(places) + 1), route))


def _paths(counted: Mapping[str, int], fold: Fold) -> dict[str, list[PathCount]]:
    total: Counter[tuple[str, ...]] = Counter()
    for field, count in counted.items():
        route, *place = (OTHER,) * 3 if field == OTHER else msgspec.json.decode(field, type=tuple[str, ...])
        total[fold(route), *place] += count
    found: dict[str, list[PathCount]] = {}
    for (route, path, kind), count in total.items():
        found.setdefault(route, []).append(PathCount(path=path, kind=kind, count=count))
    return found
