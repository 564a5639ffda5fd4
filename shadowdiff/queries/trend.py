"""The results of a target's pairs over time, for charts.

A bucket does not change after it ends, so each process reads it once and caches it; the cache is limited. The
band of each step is the step's Wilson interval. The band is only for display; no verdict uses it.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.model import Result
from shadowdiff.verdict import Unit, read_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model.store_reader import StoreReader
    from shadowdiff.verdict import Point

_MAX_CACHED: Final = 20_000
_SETTLED_MS: Final = 60_000
"""How long after the end of a bucket all its pairs have been counted."""
_Z: Final = 1.959964
"""Number of standard deviations that contain 95 % of a normal distribution."""
_HALF_OF_DAY: Final = 6


class Window(NamedTuple):
    """A time window that ends now, made of buckets."""

    name: str
    title: str
    unit: Unit
    buckets: int


WINDOWS: Final = (
    Window("1h", "hour", Unit.MINUTE, 60),
    Window("6h", "6 hours", Unit.MINUTE, 360),
    Window("24h", "day", Unit.HOUR, 24),
    Window("7d", "week", Unit.HOUR, 168),
    Window("30d", "30 days", Unit.HOUR, 720),
)
_HOUR, _SIX_HOURS, _DAY = WINDOWS[:3]


class Step(NamedTuple):
    """A time step of a chart: number of pairs compared, number of mismatches, and the ends of the band."""

    at_ms: int
    end_ms: int
    compared: int
    mismatches: int
    lower: float
    upper: float

    @property
    def ratio(self) -> float | None:
        """The share of pairs that differ; None if nothing was compared."""
        return self.mismatches / self.compared if self.compared else None


class Trends:
    """Reads points, and caches points that cannot change any more."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._cached: dict[tuple[str, Unit, int], Point] = {}

    async def points(self, target: str, window: Window, now_ms: int) -> list[Point]:
        """Return the points of a window, oldest first."""
        unit, last = window.unit, now_ms // window.unit.ms
        numbers = range(last - window.buckets + 1, last + 1)
        found = {number: point for number in numbers if (point := self._cached.get((target, unit, number)))}
        missing = [number for number in numbers if number not in found]
        read = dict(zip(missing, await read_points(self._reader, target, unit, missing), strict=True))
        if len(self._cached) + len(read) > _MAX_CACHED:
            self._cached.clear()
        for number, point in read.items():
            if (number + 1) * unit.ms + _SETTLED_MS <= now_ms:
                self._cached[target, unit, number] = point
        return [read.get(number) or found[number] for number in numbers]

    async def shortest_window(self, target: str, now_ms: int) -> Window:
        """Return the shortest window, at most a day, that contains all counts of the last day."""
        day = await self.points(target, _DAY, now_ms)
        oldest = max((at for at, point in enumerate(reversed(day)) if any(point.results.values())), default=0)
        if oldest == 0:
            return _HOUR
        hour = await self.points(target, _HOUR, now_ms) if oldest == 1 else []
        if hour and _total(hour) == _total(day):
            return _HOUR
        return _SIX_HOURS if oldest < _HALF_OF_DAY else _DAY


def _total(points: Sequence[Point]) -> int:
    return sum(sum(point.results.values()) for point in points)


def steps(points: Sequence[Point], unit: Unit, most: int) -> list[Step]:
    """Return at most `most` steps of equal length."""
    size = max(1, -(-len(points) // most))
    return [_step(points[at : at + size], unit) for at in range(0, len(points), size)]


def since_first(points: Sequence[Point], least: int) -> Sequence[Point]:
    """Return the points from the first point with a count on, but at least the last `least` points."""
    first = next((at for at, point in enumerate(points) if any(point.results.values())), len(points))
    return points[max(0, min(first, len(points) - least)) :]


def _step(points: Sequence[Point], unit: Unit) -> Step:
    mismatches = sum(point.results[Result.MISMATCH] for point in points)
    matches = sum(point.results[Result.MATCH] + point.results[Result.IGNORED] for point in points)
    lower, upper = wilson(mismatches, matches + mismatches)
    return Step(points[0].at_ms, points[-1].at_ms + unit.ms, matches + mismatches, mismatches, lower, upper)


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return the ends of the 95 % Wilson interval for k of n; [0, 1] if n is 0."""
    if not n:
        return 0.0, 1.0
    p, z2 = k / n, _Z * _Z
    middle, half = p + z2 / (2 * n), _Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))
