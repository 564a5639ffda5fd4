"""Counts over time: per minute and per hour, by route and by place, readable for any window.

In: judged pairs and the time.  Out: writes; from a reader and a window, `History`.
Holds: bounded in routes and places per bucket (past a cap the store adds to `_other`); minutes live for six hours,
hours for 35 days; a bucket's end is the wall clock of whoever judged. A window that slides has no start that was fixed
beforehand, so that what is read here is a description and never a verdict.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Comparison, Expire, Incr, Pair, Result, Write
from shadowdiff.store import reading
from shadowdiff.verdict.counts import OTHER, CountCaps, Fold, PathCount, as_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shadowdiff.model.reader import StoreReader

PATHS: Final = 300
"""Places kept apart per target and bucket at the most, whatever `limits.paths` says: a target has 1,200 buckets."""
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_PATTERN_CHARS: Final = 300
_KEPT: Final = 5_000
_PATHS_GROUP: Final = "paths"
_REASONS_GROUP: Final = "reasons"
_REASONS: Final = 200
"""Routes with a reason why a pair could not be compared, kept apart per target and bucket."""


class Unit(StrEnum):
    """How long a bucket is."""

    MINUTE = "minute"
    HOUR = "hour"

    @property
    def ms(self) -> int:
        """The length of a bucket."""
        return _MINUTE_MS if self is Unit.MINUTE else _HOUR_MS

    @property
    def life_s(self) -> int:
        """How long a bucket is kept after its last pair."""
        return 6 * 3600 if self is Unit.MINUTE else 35 * 86_400


_UNITS: Final = (Unit.MINUTE, Unit.HOUR)


class RouteHistory(msgspec.Struct, frozen=True, kw_only=True):
    """One route in the window: its pairs by result, and where they differ, most first."""

    route: str
    results: dict[str, int]
    paths: tuple[PathCount, ...] = ()
    reasons: dict[str, int] = {}


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket: when it begins (Unix milliseconds), and its pairs by result."""

    at_ms: int
    results: dict[str, int]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in a window, whose ends lie on whole buckets; the routes that differ most first."""

    target: str
    unit: Unit
    start_ms: int
    end_ms: int
    results: dict[str, int]
    points: tuple[Point, ...]
    routes: tuple[RouteHistory, ...]


_made: dict[tuple[str | int, ...], tuple[Write, ...]] = {}
_minute: list[int] = [0]


_CAPS: Final = CountCaps()


def bucket_writes(pair: Pair, comparison: Comparison, at_ms: int, caps: CountCaps = _CAPS) -> tuple[Write, ...]:
    """Return the writes that count one pair in the minute and the hour at `at_ms`."""
    minute = at_ms // _MINUTE_MS
    if minute != _minute[0]:
        _made.clear()
        _minute[0] = minute
    writes = _counted(at_ms, caps.names, pair.target, comparison.result, pair.route)
    if comparison.result is Result.INCOMPARABLE:
        reason = comparison.reason[:_PATTERN_CHARS]
        return writes + _counted(at_ms, _REASONS, pair.target, _REASONS_GROUP, pair.route, reason)
    if comparison.result is not Result.MISMATCH:
        return writes
    paths = min(caps.paths, PATHS)
    for pattern, kind in {(d.pattern[:_PATTERN_CHARS], d.kind.value) for d in comparison.differences if d.rule is None}:
        writes += _counted(at_ms, paths, pair.target, _PATHS_GROUP, pair.route, pattern, kind)
    return writes


def _counted(at_ms: int, cap: int, target: str, group: str, *parts: str) -> tuple[Write, ...]:
    """Return the writes of one field in both buckets, made once a minute while there is room to keep them."""
    name = (cap, target, group, *parts)
    known = _made.get(name)
    if known is not None:
        return known
    field = parts[0] if len(parts) == 1 else msgspec.json.encode(parts).decode()
    keys = [(_key(target, unit, at_ms // unit.ms, group), unit.life_s) for unit in _UNITS]
    made = tuple(write for key, life_s in keys for write in (Incr(key, field, 1, cap), Expire(key, life_s)))
    if len(_made) < _KEPT:
        _made[name] = made
    return made


def _key(target: str, unit: Unit, number: int, group: str) -> str:
    return f"time:{target}:{unit}:{number}:{group}"


def unit_for(start_ms: int, now_ms: int) -> Unit:
    """Return the finest unit that still knows the start of a window."""
    return Unit.MINUTE if now_ms - start_ms <= Unit.MINUTE.life_s * 1000 else Unit.HOUR


async def read_history(
    reader: StoreReader, target: str, start_ms: int, end_ms: int, now_ms: int, *, fold: Fold = as_named
) -> History:
    """Return what was counted from `start_ms` to `end_ms`, rounded outward to whole buckets."""
    unit = unit_for(start_ms, now_ms)
    oldest = (now_ms - unit.life_s * 1000) // unit.ms
    numbers = range(max(start_ms // unit.ms, oldest), max(-(-end_ms // unit.ms), start_ms // unit.ms + 1))
    groups = [*(result.value for result in Result), _PATHS_GROUP, _REASONS_GROUP]
    keys = [_key(target, unit, number, group) for number in numbers for group in groups]
    counted = await reader.counts_of(keys)
    rows = [dict(zip(groups, counted[at : at + len(groups)], strict=True)) for at in range(0, len(keys), len(groups))]
    with reading(f"what {target} counted in time"):
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
    """Return the results of some buckets, by the number of the unit since 1970, without routes and places."""
    keys = [_key(target, unit, number, result.value) for number in numbers for result in Result]
    counted = iter(await reader.counts_of(keys))
    return [
        Point(at_ms=number * unit.ms, results={result.value: sum(next(counted).values()) for result in Result})
        for number in numbers
    ]


_Row = dict[str, dict[str, int]]


def _results(rows: Iterable[_Row]) -> dict[str, int]:
    whole = list(rows)
    return {result.value: sum(sum(row[result].values()) for row in whole) for result in Result}


def _routes(rows: Sequence[_Row], fold: Fold) -> tuple[RouteHistory, ...]:
    by_result = {result.value: _sum((row[result] for row in rows), fold) for result in Result}
    counted: Counter[tuple[str, ...]] = Counter()
    for field, count in _sum((row[_PATHS_GROUP] for row in rows), as_named).items():
        route, *place = (OTHER,) * 3 if field == OTHER else msgspec.json.decode(field, type=tuple[str, ...])
        counted[fold(route), *place] += count
    places: dict[str, list[PathCount]] = {}
    for (route, path, kind), count in counted.items():
        places.setdefault(route, []).append(PathCount(path=path, kind=kind, count=count))
    reasons: dict[str, dict[str, int]] = {}
    for field, count in _sum((row[_REASONS_GROUP] for row in rows), as_named).items():
        route, reason = (OTHER, OTHER) if field == OTHER else msgspec.json.decode(field, type=tuple[str, str])
        of_route = reasons.setdefault(fold(route), {})
        of_route[reason] = of_route.get(reason, 0) + count
    names = {route for counted in by_result.values() for route in counted} | places.keys()
    routes = [
        RouteHistory(
            route=route,
            results={result: counted.get(route, 0) for result, counted in by_result.items()},
            paths=tuple(sorted(places.get(route, ()), key=lambda path: (-path.count, path.path, path.kind))),
            reasons=reasons.get(route, {}),
        )
        for route in names
    ]
    return tuple(sorted(routes, key=lambda r: (-r.results[Result.MISMATCH], -sum(r.results.values()), r.route)))


def _sum(counted: Iterable[Mapping[str, int]], fold: Fold) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counted:
        for field, count in part.items():
            total[fold(field)] += count
    return dict(total)
