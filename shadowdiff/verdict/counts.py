"""Count what was compared, as writes; read the counts back.

In: a pair and its comparison.  Out: `Incr` writes under `counts:`; from a reader, `TargetCounts`.
Holds: bounded in routes, paths and buckets per target (past a cap the store adds to `_other`);
a difference counts once per pair and place, however often it occurs within the pair.
A match costs two buckets and one look-up: its writes are made once and kept, in a dictionary with a bound.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Comparison, Difference, Incr, Observation, Pair, Result, Side, Write
from shadowdiff.store import reading
from shadowdiff.verdict.histogram import bucket_of, quantile_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shadowdiff.model.reader import StoreReader

OTHER: Final = "_other"
_ROOM: Final = 3
"""Names that a hash takes, over those that stand apart: what was named before a place turned to values stays in it."""
_BUCKETS: Final = 2 * 24
"""Buckets of one route's durations, of both sides."""
_REASONS_CAP: Final = 200
_KEPT: Final = 20_000
_SIDES: Final = frozenset(side.value for side in Side)
_PATTERN_CHARS: Final = 300


class CountCaps(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept apart per target; what comes later counts under `_other`.

    routes: names of routes.  paths: places (route, pattern, kind), for those that count and for those that rules cover.
    """

    routes: int = 200
    paths: int = 1000

    @property
    def names(self) -> int:
        """The names of routes that a hash takes."""
        return self.routes * _ROOM


class PathCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many pairs of a route differ in one place; `rule` names what covers it, None where it counts."""

    path: str
    kind: str
    count: int
    rule: str | None = None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """One side's durations on one route, as upper ends of their buckets."""

    count: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class RouteCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One route: its pairs by result, where they differ (most first), how long each side took."""

    route: str
    results: dict[str, int]
    paths: tuple[PathCount, ...] = ()
    covered: tuple[PathCount, ...] = ()
    reasons: dict[str, int] = {}
    latency: dict[str, Latency] = {}

    @property
    def compared(self) -> int:
        """Pairs of which something can be said."""
        return sum(self.results.values()) - self.results[Result.INCOMPARABLE]

    @property
    def mismatch_ratio(self) -> float | None:
        """The share of compared pairs that differ; None before the first."""
        return self.results[Result.MISMATCH] / self.compared if self.compared else None


class TargetCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything counted for one target, the routes that differ most first."""

    target: str
    results: dict[str, int]
    routes: tuple[RouteCounts, ...] = ()

    @property
    def compared(self) -> int:
        """Pairs of which something can be said."""
        return sum(self.results.values()) - self.results[Result.INCOMPARABLE]

    @property
    def mismatch_ratio(self) -> float | None:
        """The share of compared pairs that differ; None before the first."""
        return self.results[Result.MISMATCH] / self.compared if self.compared else None


_kept: dict[tuple[str | int, ...], Incr] = {}
_outcomes: dict[tuple[str, str, Result, int, int, int], tuple[Incr, ...]] = {}
_NO_BUCKET: Final = -1
_CAPS: Final = CountCaps()


def count_writes(pair: Pair, comparison: Comparison, caps: CountCaps = _CAPS) -> tuple[Write, ...]:
    """Return the increments of one pair."""
    outcome = _outcome(pair, comparison.result, caps.names)
    if comparison.result is Result.INCOMPARABLE:
        reason = comparison.reason[:_PATTERN_CHARS]
        return (*outcome, _keep("reasons", _REASONS_CAP, pair.target, pair.route, reason))
    if comparison.differences:
        return (*outcome, *_differences(pair.target, pair.route, comparison.differences, caps.paths))
    return outcome


def _outcome(pair: Pair, result: Result, cap: int) -> tuple[Incr, ...]:
    """Return the increments that every pair has: its result, and a bucket of each side's duration."""
    primary, candidate = _bucket(pair.primary), _bucket(pair.candidate)
    name = (pair.target, pair.route, result, primary, candidate, cap)
    known = _outcomes.get(name)
    if known is not None:
        return known
    made = (
        _keep(result, cap, pair.target, pair.route),
        *_latency(pair, Side.PRIMARY, primary, cap * _BUCKETS),
        *_latency(pair, Side.CANDIDATE, candidate, cap * _BUCKETS),
    )
    if len(_outcomes) < _KEPT:
        _outcomes[name] = made
    return made


def _bucket(observation: Observation) -> int:
    return bucket_of(observation.duration_ms) if observation.duration_ms >= 0 else _NO_BUCKET


def _latency(pair: Pair, side: Side, bucket: int, cap: int) -> tuple[Incr, ...]:
    return () if bucket == _NO_BUCKET else (_keep("latency", cap, pair.target, pair.route, side, str(bucket)),)


def _differences(target: str, route: str, differences: tuple[Difference, ...], cap: int) -> Iterable[Incr]:
    places = {(d.pattern[:_PATTERN_CHARS], d.kind.value, d.rule) for d in differences}
    for pattern, kind, rule in places:
        if rule is None:
            yield _keep("differences", cap, target, route, pattern, kind)
        else:
            yield _keep("covered", cap, target, route, pattern, kind, rule)


def _keep(group: str, cap: int, target: str, *parts: str) -> Incr:
    """Return the increment of one field, made once while there is room to keep it."""
    name = (group, cap, target, *parts)
    known = _kept.get(name)
    if known is not None:
        return known
    made = Incr(_key(group, target), msgspec.json.encode(parts).decode(), 1, cap)
    if len(_kept) < _KEPT:
        _kept[name] = made
    return made


def _key(group: str, target: str) -> str:
    return f"counts:{group}:{target}"


Fold = Callable[[str], str]
"""What a route that was named earlier is called by now; counts under both names are one route's."""


def as_named(route: str) -> str:
    """Return the name as it was given: nothing is folded."""
    return route


_GROUPS: Final = {
    **{result.value: 1 for result in Result}, "differences": 3, "covered": 4, "reasons": 2, "latency": 3
}  # fmt: skip
"""Every group of counts, and of how many parts its fields are."""


async def read_counts(reader: StoreReader, target: str, fold: Fold = as_named) -> TargetCounts:
    """Return everything counted for one target, in one call a shard."""
    hashes = await reader.counts_of([_key(group, target) for group in _GROUPS])
    with reading(f"the counts of {target}"):
        return _counted(target, hashes, fold)


def _counted(target: str, hashes: Sequence[Mapping[str, int]], fold: Fold) -> TargetCounts:
    read = {
        group: _by_parts(counts, size, fold)
        for (group, size), counts in zip(_GROUPS.items(), hashes, strict=True)
    }  # fmt: skip
    results = {result.value: read[result] for result in Result}
    differences, covered = _paths(read["differences"]), _paths(read["covered"])
    reasons: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (route, reason), count in read["reasons"].items():
        reasons[route][reason] = count
    latency = _histograms(read["latency"])
    routes = [
        RouteCounts(
            route=route,
            results={result: counted.get((route,), 0) for result, counted in results.items()},
            paths=differences.get(route, ()),
            covered=covered.get(route, ()),
            reasons=reasons.get(route, {}),
            latency=latency.get(route, {}),
        )
        for route in sorted({route for counted in results.values() for (route,) in counted})
    ]
    routes.sort(key=lambda r: (-r.results[Result.MISMATCH], -sum(r.results.values()), r.route))
    totals = {result.value: sum(r.results[result] for r in routes) for result in Result}
    return TargetCounts(target=target, results=totals, routes=tuple(routes))


async def compared_pairs(reader: StoreReader, target: str) -> int:
    """Return how many pairs of a target were compared."""
    compared = [result for result in Result if result is not Result.INCOMPARABLE]
    counted = await reader.counts_of([_key(result, target) for result in compared])
    return sum(sum(routes.values()) for routes in counted)


async def read_durations(
    reader: StoreReader, target: str, fold: Fold = as_named
) -> dict[str, dict[str, dict[int, int]]]:
    """Return every route's durations, by side and bucket."""
    found: dict[str, dict[str, dict[int, int]]] = {}
    counts = await reader.counts(_key("latency", target))
    with reading(f"the durations of {target}"):
        for (route, side, bucket), count in _by_parts(counts, _GROUPS["latency"], fold).items():
            if side in _SIDES:
                found.setdefault(route, {}).setdefault(side, {})[int(bucket)] = count
    return found


async def known_routes(reader: StoreReader, target: str, fold: Fold = as_named) -> set[str]:
    """Return every route of which something could be said at any time, but for the overflow."""
    compared = [result.value for result in Result if result is not Result.INCOMPARABLE]
    hashes = await reader.counts_of([_key(result, target) for result in compared])
    with reading(f"the routes of {target}"):
        return {route for counts in hashes for (route,) in _by_parts(counts, 1, fold)} - {OTHER}


_Fields = dict[tuple[str, ...], int]


def _by_parts(counts: Mapping[str, int], size: int, fold: Fold) -> _Fields:
    """Return a hash's counts by the parts of each field; what overflowed stands under `_other` in every part."""
    counted: Counter[tuple[str, ...]] = Counter()
    for field, count in counts.items():
        if field == OTHER:
            counted[(OTHER,) * size] += count
            continue
        route, *rest = msgspec.json.decode(field, type=tuple[str, ...])
        counted[fold(route), *rest] += count
    return dict(counted)


def _paths(counted: _Fields) -> dict[str, tuple[PathCount, ...]]:
    """Return each route's places, most first."""
    found: defaultdict[str, list[PathCount]] = defaultdict(list)
    for (route, path, kind, *rule), count in counted.items():
        found[route].append(PathCount(path=path, kind=kind, count=count, rule=rule[0] if rule else None))
    return {route: tuple(sorted(paths, key=lambda p: (-p.count, p.path, p.kind))) for route, paths in found.items()}


def _histograms(counted: _Fields) -> dict[str, dict[str, Latency]]:
    spreads: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for (route, side, bucket), count in counted.items():
        if side in _SIDES:
            spreads[route, side][int(bucket)] = count
    found: defaultdict[str, dict[str, Latency]] = defaultdict(dict)
    for (route, side), spread in spreads.items():
        found[route][side] = _latency_of(spread)
    return found


def _latency_of(spread: dict[int, int]) -> Latency:
    return Latency(
        count=sum(spread.values()),
        p50_ms=quantile_ms(spread, 0.5),
        p90_ms=quantile_ms(spread, 0.9),
        p99_ms=quantile_ms(spread, 0.99),
    )
