"""What an epoch has to say: its counts by route, read back.

In: a reader and an epoch.  Out: `Evidence`: pairs by result, per route in the order in which routes appeared.
Holds: reading changes nothing; what overflowed stands under the route `_other` with its result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shadowdiff.model import Result
from shadowdiff.verdict.counts import OTHER, PathCount, TargetCounts
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
        return self.results[Result.MISMATCH] - self.left_out


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


async def read_evidence(reader: StoreReader, target: str, epoch: Epoch) -> Evidence:
    """Return what counts in an epoch."""

    async def group(name: str) -> dict[str, int]:
        return await reader.counts(counts_key(target, epoch.id, name))

    async def of_noise(name: str) -> dict[str, int]:
        return await group(name) if epoch.noise is not None else {}

    results = {result.value: await group(result) for result in Result}
    paths = _paths(await group("paths"))
    places = await group("routes")
    left_out, distinct = await of_noise("left_out"), await of_noise("distinct")
    triples = read_triples(await of_noise("triples"))
    cells, overflow = read_cells(await of_noise("cells"))
    repeats, _ = read_cells(await of_noise("repeats"))
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
        aside=await group("aside"),
        durations=_durations(await group("latency")),
        cells=cells,
        repeats=repeats,
        overflow=overflow,
    )


def _durations(counted: Mapping[str, int]) -> dict[str, dict[str, dict[int, int]]]:
    found: dict[str, dict[str, dict[int, int]]] = {}
    for field, count in counted.items():
        if field != OTHER:
            route, side, bucket = msgspec.json.decode(field, type=tuple[str, str, str])
            found.setdefault(route, {}).setdefault(side, {})[int(bucket)] = count
    return found


def _in_order(names: set[str], places: Mapping[str, int]) -> list[str]:
    """Return the routes in the order of their places; those that have none yet come last."""
    return sorted(names, key=lambda route: (places.get(route, len(places) + 1), route))


def _paths(counted: Mapping[str, int]) -> dict[str, list[PathCount]]:
    found: dict[str, list[PathCount]] = {}
    for field, count in counted.items():
        parts = (OTHER,) * 3 if field == OTHER else msgspec.json.decode(field, type=tuple[str, ...])
        found.setdefault(parts[0], []).append(PathCount(path=parts[1], kind=parts[2], count=count))
    return found
