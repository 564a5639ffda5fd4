"""Charts as numbers that a template writes as SVG: a ratio over time with its band, bars, a line beside a name.

In: steps of time.  Out: coordinates, ticks, marks, and what a chart says in words.
Holds: pure; bounded by the number of steps. X is a share of the width in per mille, so that a chart is as wide as its
place while its text keeps its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.web.words import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.verdict import Opened
    from shadowdiff.web.trend import Step

WIDTH: Final = 1000
HEIGHT: Final = 100
_TICKS: Final = 5
_ROOM: Final = 150
"""Per mille of the width that a mark's name needs."""
_DAY_MS: Final = 86_400_000
_REASONS: Final = {
    "start": "counting began",
    "revision": "v2 became",
    "rules": "the rules changed",
    "noise": "the noise set changed",
    "rollout": "a rollout began",
    "hand": "opened by hand",
}


class Tick(NamedTuple):
    """A place on an axis and what stands there; `at_ms` where that is a time."""

    at: float
    text: str
    at_ms: int = 0


class Marker(NamedTuple):
    """A moment worth a line: `text` where there is room for it, `title` in whole; `end` where it stands left of it."""

    at: float
    text: str
    title: str
    end: bool


class Hit(NamedTuple):
    """A stretch that says its numbers when it is pointed at."""

    at: float
    width: float
    step: Step


@dataclass(frozen=True, slots=True)
class RatioChart:
    """The share of pairs that differ, over time. Bands and lines are lists of points, one a stretch without a gap."""

    bands: list[str]
    lines: list[str]
    dots: list[tuple[float, float]]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    x_form: str
    allowed: float | None
    markers: list[Marker]
    hits: list[Hit]
    said: str


def ratio_chart(steps: Sequence[Step], opened: Iterable[Opened], allowed: float) -> RatioChart | None:
    """Return the chart; None where nothing was compared."""
    known = [step for step in steps if step.compared]
    if not known:
        return None
    start, end = steps[0].at_ms, steps[-1].end_ms
    ticks = _y_ticks(max([allowed, *(_tamed(step) for step in known)]))
    top = ticks[-1]

    def x(at_ms: float) -> float:
        return round(WIDTH * (at_ms - start) / (end - start), 1)

    def y(ratio: float) -> float:
        return round(HEIGHT * (1 - min(1.0, ratio / top)), 2)

    bands: list[str] = []
    lines: list[str] = []
    dots: list[tuple[float, float]] = []
    for run in _runs(steps):
        places = [(x((step.at_ms + step.end_ms) / 2), step) for step in run]
        upper = [f"{at},{y(step.upper)}" for at, step in places]
        lower = [f"{at},{y(step.lower)}" for at, step in reversed(places)]
        if len(run) == 1:
            dots.append((places[0][0], y(run[0].ratio or 0.0)))
            continue
        bands.append(" ".join([*upper, *lower]))
        lines.append(" ".join(f"{at},{y(step.ratio or 0.0)}" for at, step in places))
    return RatioChart(
        bands=bands,
        lines=lines,
        dots=dots,
        y_ticks=[Tick(y(tick), percent(tick)) for tick in ticks],
        x_ticks=[Tick(x(at_ms), _clock(at_ms, end - start), at_ms) for at_ms in _x_ticks(start, end)],
        x_form="minute" if end - start <= 2 * _DAY_MS else "day",
        allowed=y(allowed),
        markers=_markers(opened, start, end, x),
        hits=[Hit(x(step.at_ms), round(x(step.end_ms) - x(step.at_ms), 1), step) for step in known],
        said=_said(known),
    )


def _tamed(step: Step) -> float:
    """Return how high a step reaches; of few pairs the band reaches so high that it would flatten all others."""
    return min(step.upper, 2.5 * (step.ratio or 0.0) + 0.002)


def _runs(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the stretches without a gap."""
    runs: list[list[Step]] = [[]]
    for step in steps:
        if step.compared:
            runs[-1].append(step)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _y_ticks(most: float) -> list[float]:
    """Return two to five round numbers from nothing to above the most."""
    rough = max(most, 1e-6) / 3
    size = 10 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [round(min(1.0, step * number), 9) for number in range(ceil(most / step) + 1)]


def _x_ticks(start: int, end: int) -> list[int]:
    """Return a few round times between the ends."""
    minute, hour = 60_000, 3_600_000
    sizes = [minute * n for n in (1, 2, 5, 10, 15, 30)] + [hour * n for n in (1, 2, 3, 6, 12, 24, 48, 120)]
    size = next((size for size in sizes if (end - start) / size <= _TICKS), sizes[-1])
    first = -(-start // size) * size
    edge = (end - start) * 0.04
    return [at for at in range(first, end, size) if start + edge <= at <= end - edge]


def _clock(at_ms: int, span_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M" if span_ms <= 2 * _DAY_MS else "%m-%d")


def _markers(opened: Iterable[Opened], start: int, end: int, x: _Place) -> list[Marker]:
    """Return the epochs that opened within the chart; a name is left out where the one before needs the room."""
    made: list[Marker] = []
    last = -WIDTH
    for one in opened:
        if not start <= one.at_ms <= end:
            continue
        at = x(one.at_ms)
        text = one.revision or "" if one.by in ("revision", "rollout") else str(one.by)
        has_room = at - last >= _ROOM
        last = at if has_room else last
        why = _REASONS[one.by] + (f" {one.revision}" if one.revision and one.by == "revision" else "")
        title = f"epoch {one.id}: {why}" + (f" (v2 is {one.revision})" if one.revision and one.by != "revision" else "")
        made.append(Marker(at, text[:18] if has_room else "", title, at > WIDTH - _ROOM))
    return made


def _said(known: Sequence[Step]) -> str:
    compared, mismatches = sum(step.compared for step in known), sum(step.mismatches for step in known)
    highest = max(known, key=lambda step: step.ratio or 0.0)
    return (
        f"{mismatches:,} of {compared:,} pairs differ ({percent(mismatches / compared)}); "
        f"at most {percent(highest.ratio)} in one stretch, last {percent(known[-1].ratio)}"
    )


def spark(steps: Sequence[Step], allowed: float) -> str:
    """Return the points of a line beside a name: 100 wide, 24 high; empty where there is nothing to draw."""
    known = [(at, step) for at, step in enumerate(steps) if step.compared]
    if len(known) < 2:  # noqa: PLR2004
        return ""
    most = max([allowed, *(step.ratio or 0.0 for _, step in known)]) or 1.0
    return " ".join(
        f"{round(100 * at / (len(steps) - 1), 1)},{round(23 - 22 * (step.ratio or 0.0) / most, 1)}"
        for at, step in known
    )


class Bar(NamedTuple):
    """A bar: 100 high at most."""

    at: float
    width: float
    height: float
    number: int
    at_ms: int


def bars(counts: Sequence[int], start_ms: int, step_ms: int) -> list[Bar]:
    """Return a bar a step, over 1,000 in width; a step without any has none."""
    most, width = max(counts, default=0), WIDTH / max(1, len(counts))
    return [
        Bar(
            round(at * width, 1),
            round(width * 0.8, 1),
            round(max(6.0, 100 * count / most), 1),
            count,
            start_ms + at * step_ms,
        )
        for at, count in enumerate(counts)
        if count
    ]


if TYPE_CHECKING:
    from collections.abc import Callable

    _Place = Callable[[float], float]
