"""Read the evidence of a run: its counts by route, in order of first appearance.

Counts beyond a limit are under the route `_other`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Result
from shadowdiff.store import reading
from shadowdiff.verdict.counts import Fold, RouteResults, TargetCounts, durations_by_route, folded, paths_by_route
from shadowdiff.verdict.noise_set import Place
from shadowdiff.verdict.run_store import counts_key
from shadowdiff.verdict.triples import TripleCounts, read_cells, read_triples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.model.store_reader import StoreReader
    from shadowdiff.verdict.run import Run


class RouteEvidence(RouteResults, frozen=True, kw_only=True):
    """The counts of one route in a run.

    left_out: pairs that differ only in noise. distinct: other mismatches; a request that repeats within a second counts
    once. triples: pairs that have a control.
    """

    left_out: int = 0
    distinct: int = 0
    triples: TripleCounts = TripleCounts()

    @property
    def mismatches(self) -> int:
        """The number of pairs that differ not only in noise."""
        return max(0, self.results[Result.MISMATCH] - self.left_out)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All counts of one run; the routes are in order of first appearance.

    excluded: pairs that do not count, by `Exclusion`.  durations: per route, side and bucket, if a gate needs them.
    cells: the number of triples in which each place differs. repeats: for each place of the noise set, the number of
    blocks (two triples that differ there) in which a side repeats its value. overflow: places beyond the limit.
    """

    target: str
    routes: tuple[RouteEvidence, ...] = ()
    excluded: dict[str, int] = {}
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
        """The number of pairs that could be compared."""
        return sum(route.compared for route in self.routes)

    @property
    def mismatches(self) -> int:
        """The number of pairs that differ not only in noise."""
        return sum(route.mismatches for route in self.routes)

    @property
    def left_out(self) -> int:
        """The number of pairs that differ only in noise."""
        return sum(route.left_out for route in self.routes)

    @property
    def triples(self) -> int:
        """The number of pairs that have a control."""
        return sum(route.triples.all for route in self.routes)

    @classmethod
    def of_all(cls, counts: TargetCounts) -> Evidence:
        """Return all counts of a target as evidence, for a service without runs."""
        routes = sorted(counts.routes, key=lambda one: one.route)
        evidence = (RouteEvidence(route=one.route, results=one.results, paths=one.paths) for one in routes)
        return cls(target=counts.target, routes=tuple(evidence))


_NOISE: Final = ("left_out", "distinct", "triples", "cells", "repeats")
_GROUPS: Final = (*(result.value for result in Result), "paths", "routes", "excluded", "latency", *_NOISE)


async def read_evidence(reader: StoreReader, target: str, run: Run, fold: Fold = str) -> Evidence:
    """Return the counts of a run, with one call per shard.

    fold: returns a route's current name; a route's position is the first position of its names.
    """
    hashes = await reader.counts_of([counts_key(target, run.id, name) for name in _GROUPS])
    with reading(f"the evidence of {target} in run {run.id}"):
        return _evidence(target, run, dict(zip(_GROUPS, hashes, strict=True)), fold)


def _evidence(target: str, run: Run, group: Mapping[str, dict[str, int]], fold: Fold) -> Evidence:
    if run.noise is None:
        group = {**group, **{name: {} for name in _NOISE}}
    results = {result.value: folded([group[result]], fold) for result in Result}
    paths = paths_by_route(group["paths"], fold)
    left_out, distinct = folded([group["left_out"]], fold), folded([group["distinct"]], fold)
    triples = read_triples(group["triples"], fold)
    cells, overflow = read_cells(group["cells"], fold)
    repeats, _ = read_cells(group["repeats"], fold)
    positions: dict[str, int] = {}
    for route, position in group["routes"].items():
        positions[fold(route)] = min(position, positions.get(fold(route), position))
    names = {route for counted in results.values() for route in counted}
    routes = [
        RouteEvidence(
            route=route,
            results={result: counted.get(route, 0) for result, counted in results.items()},
            paths=paths.get(route, ()),
            left_out=left_out.get(route, 0),
            distinct=distinct.get(route, 0),
            triples=triples.get(route, TripleCounts()),
        )
        for route in sorted(names, key=lambda name: (positions.get(name, len(positions) + 1), name))
    ]
    return Evidence(
        target=target,
        routes=tuple(routes),
        excluded=group["excluded"],
        durations=durations_by_route(group["latency"], fold),
        cells=cells,
        repeats=repeats,
        overflow=overflow,
    )
