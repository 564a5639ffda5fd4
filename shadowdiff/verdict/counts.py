"""Counts of compared pairs since the store was created: written per pair, and read per route.

A pair counts at most once per place. The numbers of routes, places and buckets per target are limited; beyond a limit,
the store adds to `_other`. The writes of recent pairs are cached, so a match costs two lookups.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import OTHER, Comparison, Incr, Pair, Result, Side, Write
from shadowdiff.store import reading
from shadowdiff.verdict.latency_buckets import bucket_of, quantile_ms

if TYPE_CHECKING:
    from shadowdiff.model.store_reader import StoreReader

PATTERN_CHARS: Final = 300
_BUCKETS: Final = 2 * 24
"""The number of buckets for the durations of one route, for both sides together."""
_REASONS_CAP: Final = 200
_KEPT: Final = 20_000


class CountCaps(msgspec.Struct, frozen=True, kw_only=True):
    """The maximum number of separate counts per target; `_other` counts the rest.

    routes: route names. paths: places (route, pattern, kind), including those that a rule covers.
    differences: how many differences a comparison lists.
    """

    routes: int = 200
    paths: int = 1000
    differences: int = 100

    @property
    def names(self) -> int:
        """The maximum number of route names in a hash, including names from before a segment became a parameter."""
        return 3 * self.routes


CAPS: Final = CountCaps()


class PathCount(msgspec.Struct, frozen=True, kw_only=True):
    """The number of a route's pairs that differ in one place. `rule`: the rule that covers it, or None."""

    path: str
    kind: str
    count: int
    rule: str | None = None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """One side's latency quantiles on one route, as the upper limits of their buckets."""

    count: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class WithResults:
    """Values that are computed from the number of pairs with each result."""

    __slots__ = ()
    results: dict[str, int]

    @property
    def compared(self) -> int:
        """The number of pairs that could be compared."""
        return sum(self.results.values()) - self.results[Result.INCOMPARABLE]

    @property
    def mismatches(self) -> int:
        """Pairs that differ."""
        return self.results[Result.MISMATCH]

    @property
    def mismatch_ratio(self) -> float | None:
        """The share of compared pairs that differ; None before the first compared pair."""
        return self.mismatches / self.compared if self.compared else None


class RouteResults(WithResults, msgspec.Struct, frozen=True, kw_only=True):
    """One route: its pairs by result, and the places that differ, most frequent first."""

    route: str
    results: dict[str, int]
    paths: tuple[PathCount, ...] = ()


class RouteCounts(RouteResults, frozen=True, kw_only=True):
    """All counts of one route, including covered differences, reasons for incomparable pairs, and the latency."""

    covered: tuple[PathCount, ...] = ()
    reasons: dict[str, int] = {}
    latency: dict[str, Latency] = {}


class TargetCounts(WithResults, msgspec.Struct, frozen=True, kw_only=True):
    """All counts of one target; the routes with most mismatches come first."""

    target: str
    results: dict[str, int]
    routes: tuple[RouteCounts, ...] = ()


Fold = Callable[[str], str]
"""Returns the current name of a route; counts under an older name belong to it."""
Durations = dict[str, dict[str, dict[int, int]]]
"""How many durations each route has, by side and bucket."""
_GROUPS: Final = (*(result.value for result in Result), "differences", "covered", "reasons", "latency")


def count_writes(pair: Pair, comparison: Comparison, caps: CountCaps = CAPS) -> tuple[Write, ...]:
    """Return the hash increments that count one pair."""
    primary, candidate = _bucket(pair.primary.duration_ms), _bucket(pair.candidate.duration_ms)
    outcome = _outcome(pair.target, pair.route, comparison.result, caps.names, primary, candidate)
    if comparison.result is Result.INCOMPARABLE:
        reason = comparison.reason[:PATTERN_CHARS]
        return (*outcome, _incr("reasons", _REASONS_CAP, pair.target, pair.route, reason))
    if comparison.differences:
        return (*outcome, *_differences(pair, comparison, caps.paths))
    return outcome


def _bucket(duration_ms: float) -> int | None:
    return bucket_of(duration_ms) if duration_ms >= 0 else None


@lru_cache(maxsize=_KEPT)
def _outcome(target: str, route: str, result: Result, cap: int, *buckets: int | None) -> tuple[Incr, ...]:
    """Return the increments that count a pair's result, and the bucket of each known duration."""
    durations = zip((Side.PRIMARY, Side.CANDIDATE), buckets, strict=True)
    known = [(side, str(bucket)) for side, bucket in durations if bucket is not None]
    return (
        _incr(result, cap, target, route),
        *(_incr("latency", cap * _BUCKETS, target, route, side, bucket) for side, bucket in known),
    )


def _differences(pair: Pair, comparison: Comparison, cap: int) -> Iterator[Incr]:
    for pattern, kind, rule in {(d.pattern[:PATTERN_CHARS], d.kind.value, d.rule) for d in comparison.differences}:
        if rule is None:
            yield _incr("differences", cap, pair.target, pair.route, pattern, kind)
        else:
            yield _incr("covered", cap, pair.target, pair.route, pattern, kind, rule)


@lru_cache(maxsize=_KEPT)
def _incr(group: str, cap: int, target: str, *parts: str) -> Incr:
    return Incr(_key(group, target), field_of(*parts), 1, cap)


def field_of(*parts: str) -> str:
    """Return the hash field that counts these parts."""
    return msgspec.json.encode(parts).decode()


def _key(group: str, target: str) -> str:
    return f"counts:{group}:{target}"


async def read_counts(
    reader: StoreReader, target: str, fold: Fold = str, fold_place: Callable[[str], str] = str
) -> TargetCounts:
    """Return all counts of one target, with one Redis call per shard.  fold_place: returns a place's current name."""
    hashes = await reader.counts_of([_key(group, target) for group in _GROUPS])
    with reading(f"the counts of {target}"):
        return _target_counts(target, dict(zip(_GROUPS, hashes, strict=True)), fold, fold_place)


def _target_counts(
    target: str, group: Mapping[str, Mapping[str, int]], fold: Fold, fold_place: Callable[[str], str]
) -> TargetCounts:
    results = {result.value: _by_parts(group[result], 1, fold) for result in Result}
    differences = paths_by_route(group["differences"], fold, fold_place=fold_place)
    covered = paths_by_route(group["covered"], fold, parts=4, fold_place=fold_place)
    reasons, durations = reasons_by_route(group["reasons"], fold), durations_by_route(group["latency"], fold)
    routes = [
        RouteCounts(
            route=route,
            results={result: counts.get((route,), 0) for result, counts in results.items()},
            paths=differences.get(route, ()),
            covered=covered.get(route, ()),
            reasons=reasons.get(route, {}),
            latency={side: _latency_of(spread) for side, spread in durations.get(route, {}).items()},
        )
        for route in {route for counts in results.values() for (route,) in counts}
    ]
    routes.sort(key=most_mismatches)
    totals = {result.value: sum(r.results[result] for r in routes) for result in Result}
    return TargetCounts(target=target, results=totals, routes=tuple(routes))


def most_mismatches(one: RouteResults) -> tuple[int, int, str]:
    """Return a sort key that puts the routes with most mismatches first."""
    return -one.mismatches, -sum(one.results.values()), one.route


def _latency_of(spread: Mapping[int, int]) -> Latency:
    p50_ms, p90_ms, p99_ms = (quantile_ms(spread, share) for share in (0.5, 0.9, 0.99))
    return Latency(count=sum(spread.values()), p50_ms=p50_ms, p90_ms=p90_ms, p99_ms=p99_ms)


async def compared_pairs(reader: StoreReader, target: str) -> int:
    """Return the number of compared pairs of a target."""
    return sum(sum(routes.values()) for routes in await _read_compared(reader, target))


async def compared_by_route(
    reader: StoreReader, target: str, run_ids: Sequence[int], fold: Fold = str
) -> dict[str, int]:
    """Return the number of compared pairs of each route in these runs together."""
    results = [result for result in Result if result is not Result.INCOMPARABLE]
    return folded(await reader.counts_of([f"run:{target}:{run}:{one}" for run in run_ids for one in results]), fold)


async def known_routes(reader: StoreReader, target: str, fold: Fold = str) -> set[str]:
    """Return every route that ever had a compared pair, except `_other`."""
    hashes = await _read_compared(reader, target)
    with reading(f"the routes of {target}"):
        return {route for counts in hashes for (route,) in _by_parts(counts, 1, fold)} - {OTHER}


async def _read_compared(reader: StoreReader, target: str) -> Sequence[Mapping[str, int]]:
    return await reader.counts_of([_key(result, target) for result in Result if result is not Result.INCOMPARABLE])


async def read_durations(reader: StoreReader, target: str, fold: Fold = str) -> Durations:
    """Return every route's durations."""
    counts = await reader.counts(_key("latency", target))
    with reading(f"the durations of {target}"):
        return durations_by_route(counts, fold)


def folded(parts: Iterable[Mapping[str, int]], fold: Fold = str) -> dict[str, int]:
    """Return the counts by current route name, including the counts under earlier names."""
    total: Counter[str] = Counter()
    for counts in parts:
        for field, count in counts.items():
            total[fold(field)] += count
    return dict(total)


def _by_parts(counts: Mapping[str, int], size: int, fold: Fold) -> Counter[tuple[str, ...]]:
    """Return a hash's counts by the parts of each field name; beyond the limit, every part is `_other`."""
    counted: Counter[tuple[str, ...]] = Counter()
    for field, count in counts.items():
        if field == OTHER:
            counted[(OTHER,) * size] += count
            continue
        route, *rest = msgspec.json.decode(field, type=tuple[str, ...])
        counted[fold(route), *rest] += count
    return counted


def paths_by_route(
    counts: Mapping[str, int], fold: Fold, *, parts: int = 3, fold_place: Callable[[str], str] = str
) -> dict[str, tuple[PathCount, ...]]:
    """Return each route's places, most frequent first."""
    totals: Counter[tuple[str, ...]] = Counter()
    for (route, path, *rest), count in _by_parts(counts, parts, fold).items():
        totals[route, fold_place(path), *rest] += count
    found: defaultdict[str, list[PathCount]] = defaultdict(list)
    for (route, path, kind, *rule), count in totals.items():
        found[route].append(PathCount(path=path, kind=kind, count=count, rule=rule[0] if rule else None))
    return {route: tuple(sorted(paths, key=lambda p: (-p.count, p.path, p.kind))) for route, paths in found.items()}


def reasons_by_route(counts: Mapping[str, int], fold: Fold) -> dict[str, dict[str, int]]:
    """Return the reasons why pairs of each route could not be compared."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (route, reason), count in _by_parts(counts, 2, fold).items():
        found[route][reason] = count
    return dict(found)


def durations_by_route(counts: Mapping[str, int], fold: Fold) -> Durations:
    """Return each route's durations; durations under `_other` have no side."""
    found: Durations = {}
    sides = frozenset(Side)
    for (route, side, bucket), count in _by_parts(counts, 3, fold).items():
        if side in sides:
            found.setdefault(route, {}).setdefault(side, {})[int(bucket)] = count
    return found
