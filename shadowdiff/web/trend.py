"""How a target's pairs came out over time, for charts.

In: a reader, a window.  Out: points in order of time, each with how many were compared and how many differ.
Holds: a bucket whose time is over never changes again, so that each process reads it once; what is kept is bounded.
The band is Wilson's interval of each point by itself: it describes, and no verdict rests on it.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.model import Result
from shadowdiff.verdict import Unit, read_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model.reader import StoreReader
    from shadowdiff.verdict import Point

_KEPT: Final = 20_000
_SETTLED_MS: Final = 60_000
"""Pairs that were judged in a bucket's time are in it by then."""
_Z: Final = 1.959964
"""Of the normal distribution, 95 % lie within so many standard deviations."""
LEVEL: Final = 0.95


class Window(NamedTuple):
    """A stretch of time up to now, in buckets."""

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


class Step(NamedTuple):
    """A stretch of a chart: its pairs compared, those of them that differ, and the ends of the band."""

    at_ms: int
    end_ms: int
    compared: int
    mismatches: int
    lower: float
    upper: float

    @property
    def ratio(self) -> float | None:
        """The share that differs; None where nothing was compared."""
        return self.mismatches / self.compared if self.compared else None


class Trends:
    """Reads points, and keeps those that cannot change."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._kept: dict[tuple[str, Unit, int], Point] = {}

    async def points(self, target: str, window: Window, now_ms: int) -> list[Point]:
        """Return the points of a window, the oldest first."""
        unit, last = window.unit, now_ms // window.unit.ms
        numbers = range(last - window.buckets + 1, last + 1)
        missing = [number for number in numbers if (target, unit, number) not in self._kept]
        read = dict(zip(missing, await read_points(self._reader, target, unit, missing), strict=True))
        self._keep(target, unit, read, now_ms)
        return [read.get(number) or self._kept[target, unit, number] for number in numbers]

    def _keep(self, target: str, unit: Unit, read: dict[int, Point], now_ms: int) -> None:
        if len(self._kept) + len(read) > _KEPT:
            self._kept.clear()
        for number, point in read.items():
            if (number + 1) * unit.ms + _SETTLED_MS <= now_ms:
                self._kept[target, unit, number] = point


def steps(points: Sequence[Point], unit: Unit, most: int) -> list[Step]:
    """Return at most `most` stretches of equal length."""
    size = max(1, -(-len(points) // most))
    return [_step(points[at : at + size], unit) for at in range(0, len(points), size)]


def since_first(points: Sequence[Point], least: int) -> Sequence[Point]:
    """Return the points from the first that counted something, but `least` at least."""
    first = next((at for at, point in enumerate(points) if any(point.results.values())), len(points))
    return points[max(0, min(first, len(points) - least)) :]


def _step(points: Sequence[Point], unit: Unit) -> Step:
    mismatches = sum(point.results[Result.MISMATCH] for point in points)
    matches = sum(point.results[Result.MATCH] + point.results[Result.IGNORED] for point in points)
    lower, upper = wilson(mismatches, matches + mismatches)
    return Step(points[0].at_ms, points[-1].at_ms + unit.ms, matches + mismatches, mismatches, lower, upper)


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return the ends of Wilson's interval at 95 % for k of n; all of [0, 1] for none."""
    if not n:
        return 0.0, 1.0
    p, z2 = k / n, _Z * _Z
    middle, half = p + z2 / (2 * n), _Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))
