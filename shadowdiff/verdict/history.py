"""Counts over time: per minute and per hour, by route and place, for any window.

Minutes are kept for six hours, and hours for 35 days. The numbers of routes and places per bucket are limited; beyond a
limit, the store adds to `_other`. A bucket's time is the wall clock of the process that compared the pair. No verdict
uses a window, because the start of a verdict's evidence must be fixed before the evidence arrives.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Comparison, Expire, Incr, Pair, Result, Write
from shadowdiff.store import reading
from shadowdiff.verdict.counts import (
    CAPS,
    PATTERN_CHARS,
    CountCaps,
    Fold,
    RouteResults,
    field_of,
    folded,
    most_mismatches,
    paths_by_route,
    reasons_by_route,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.model.store_reader import StoreReader

PATHS: Final = 300
"""The maximum number of places per target and bucket. It is fixed, because a target has 1,200 buckets."""
_REASONS: Final = 200
"""The maximum number of routes with reasons for incomparable pairs, per target and bucket."""
_GROUPS: Final = (*(result.value for result in Result), "paths", "reasons")


class Unit(StrEnum):
    """The length of a bucket."""

    MINUTE = "minute"
    HOUR = "hour"

    @property
    def ms(self) -> int:
        """The length of a bucket."""
        return 60_000 if self is Unit.MINUTE else 3_600_000

    @property
    def life_s(self) -> int:
        """How long a bucket is kept after its last pair."""
        return 6 * 3600 if self is Unit.MINUTE else 35 * 86_400


class RouteHistory(RouteResults, msgspec.Struct, frozen=True, kw_only=True):
    """One route in the window, with the reasons why pairs could not be compared."""

    reasons: dict[str, int] = {}


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket: its start (Unix ms), and its pairs by result."""

    at_ms: int
    results: dict[str, int]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a window, extended to whole buckets; the routes with most mismatches come first."""

    target: str
    unit: Unit
    start_ms: int
    end_ms: int
    results: dict[str, int]
    points: tuple[Point, ...]
    routes: tuple[RouteHistory, ...]


def history_writes(pair: Pair, comparison: Comparison, at_ms: int, caps: CountCaps = CAPS) -> tuple[Write, ...]:
    """Return the writes that count one pair in the minute and the hour at `at_ms`."""
    minute = at_ms // Unit.MINUTE.ms
    writes = _counted(minute, caps.names, pair.target, comparison.result, pair.route)
    if comparison.result is Result.INCOMPARABLE:
        reason = comparison.reason[:PATTERN_CHARS]
        return writes + _counted(minute, _REASONS, pair.target, "reasons", pair.route, reason)
    if comparison.result is not Result.MISMATCH:
        return writes
    paths = min(caps.paths, PATHS)
    for pattern, kind in {(d.pattern[:PATTERN_CHARS], d.kind.value) for d in comparison.differences if d.rule is None}:
        writes += _counted(minute, paths, pair.target, "paths", pair.route, pattern, kind)
    return writes


@lru_cache(maxsize=5_000)
def _counted(minute: int, cap: int, target: str, group: str, *parts: str) -> tuple[Write, ...]:
    field = parts[0] if len(parts) == 1 else field_of(*parts)
    keys = [(_key(target, unit, minute * Unit.MINUTE.ms // unit.ms, group), unit.life_s) for unit in Unit]
    return tuple(write for key, life_s in keys for write in (Incr(key, field, 1, cap), Expire(key, life_s)))


def _key(target: str, unit: Unit, number: int, group: str) -> str:
    return f"time:{target}:{unit}:{number}:{group}"


def unit_for(start_ms: int, now_ms: int) -> Unit:
    """Return the shortest unit that still has buckets for the start of a window."""
    return Unit.MINUTE if now_ms - start_ms <= Unit.MINUTE.life_s * 1000 else Unit.HOUR


async def read_history(
    reader: StoreReader, target: str, start_ms: int, end_ms: int, now_ms: int, *, fold: Fold = str
) -> History:
    """Return the counts from `start_ms` to `end_ms`, extended to whole buckets."""
    unit = unit_for(start_ms, now_ms)
    oldest = (now_ms - unit.life_s * 1000) // unit.ms
    numbers = range(max(start_ms // unit.ms, oldest), max(-(-end_ms // unit.ms), start_ms // unit.ms + 1))
    counted = iter(await reader.counts_of([_key(target, unit, n, group) for n in numbers for group in _GROUPS]))
    rows = [{group: next(counted) for group in _GROUPS} for _ in numbers]
    with reading(f"the history of {target}"):
        routes = _routes(rows, fold)
    return History(
        target=target,
        unit=unit,
        start_ms=numbers.start * unit.ms,
        end_ms=numbers.stop * unit.ms,
        results=_results(rows),
        points=tuple(Point(at_ms=n * unit.ms, results=_results([row])) for n, row in zip(numbers, rows, strict=True)),
        routes=routes,
    )


async def read_points(reader: StoreReader, target: str, unit: Unit, numbers: Sequence[int]) -> list[Point]:
    """Return the pairs by result in these buckets, without routes and places. Bucket 0 starts in 1970."""
    counted = iter(await reader.counts_of([_key(target, unit, n, result) for n in numbers for result in Result]))
    return [
        Point(at_ms=n * unit.ms, results={result.value: sum(next(counted).values()) for result in Result})
        for n in numbers
    ]


def _results(rows: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, int]:
    return {result.value: sum(sum(row[result].values()) for row in rows) for result in Result}


def _routes(rows: Sequence[Mapping[str, Mapping[str, int]]], fold: Fold) -> tuple[RouteHistory, ...]:
    by_result = {result.value: folded((row[result] for row in rows), fold) for result in Result}
    paths = paths_by_route(folded(row["paths"] for row in rows), fold)
    reasons = reasons_by_route(folded(row["reasons"] for row in rows), fold)
    routes = [
        RouteHistory(
            route=route,
            results={result: counted.get(route, 0) for result, counted in by_result.items()},
            paths=paths.get(route, ()),
            reasons=reasons.get(route, {}),
        )
        for route in {route for counted in by_result.values() for route in counted} | paths.keys()
    ]
    return tuple(sorted(routes, key=most_mismatches))
