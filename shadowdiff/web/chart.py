"""Compute charts for SVG templates: a ratio over time with its band, bars, and sparklines.

Pure. A maximum number of steps keeps a chart small. The x values are in per mille of the width, so that the chart
scales to its container but its text does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.display.wording import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shadowdiff.queries.trend import Step
    from shadowdiff.verdict import Funnel, RunStarted
    from shadowdiff.verdict.funnel import Step as FunnelStep

WIDTH: Final = 1000
HEIGHT: Final = 100
_TICKS: Final = 5
_LABEL_WIDTH: Final = 150
"""Width that a marker's label needs, in per mille of the chart's width."""
_DAY_MS: Final = 86_400_000
_LEAST_FUNNEL_WIDTH: Final = 4
"""Width of the narrowest bar that is still visible."""
_STARTED_BY: Final = {
    "start": "counting began",
    "revision": "v2 became",
    "rules": "the rules changed",
    "noise": "the noise set changed",
    "rollout": "a rollout began",
    "manual": "started manually",
}


class Tick(NamedTuple):
    """A label on an axis.  at_ms: set on the time axis only."""

    at: float
    text: str
    at_ms: int = 0


class Marker(NamedTuple):
    """A vertical line.  text: the label, if it fits.  title: the full text.  end: whether the label is on the left."""

    at: float
    text: str
    title: str
    end: bool


@dataclass(frozen=True, slots=True)
class RatioChart:
    """The share of pairs that differ, over time. Each band or line is a list of points; a gap starts a new one.

    areas: the start, the width and the step of each area that shows a tooltip.
    """

    bands: list[str]
    lines: list[str]
    dots: list[tuple[float, float]]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    x_form: str
    allowed: float
    markers: list[Marker]
    areas: list[tuple[float, float, Step]]
    summary: str


def ratio_chart(steps: Sequence[Step], started: Iterable[RunStarted], allowed: float) -> RatioChart | None:
    """Return the chart; None if nothing was compared."""
    known = [step for step in steps if step.compared]
    if not known:
        return None
    start, end = steps[0].at_ms, steps[-1].end_ms
    compared, mismatches = sum(step.compared for step in known), sum(step.mismatches for step in known)
    # do not scale to the whole band, because a step with few pairs has a wide band and would flatten the others
    ticks = _y_ticks(max([allowed, *(min(step.upper, 2.5 * (step.ratio or 0.0) + 0.002) for step in known)]))
    is_short = end - start <= 2 * _DAY_MS
    clock_form = "%H:%M" if is_short else "%m-%d"

    def x(at_ms: float) -> float:
        return round(WIDTH * (at_ms - start) / (end - start), 1)

    def y(ratio: float) -> float:
        return round(HEIGHT * (1 - min(1.0, ratio / ticks[-1])), 2)

    def point(step: Step, ratio: float | None) -> tuple[float, float]:
        return x((step.at_ms + step.end_ms) / 2), y(ratio or 0.0)

    stretches = [list(stretch) for is_known, stretch in groupby(steps, lambda step: step.compared > 0) if is_known]
    long = [stretch for stretch in stretches if len(stretch) > 1]
    return RatioChart(
        bands=[
            _points([*(point(step, step.upper) for step in one), *(point(step, step.lower) for step in reversed(one))])
            for one in long
        ],
        lines=[_points(point(step, step.ratio) for step in stretch) for stretch in long],
        dots=[point(stretch[0], stretch[0].ratio) for stretch in stretches if len(stretch) == 1],
        y_ticks=[Tick(y(tick), percent(tick)) for tick in ticks],
        x_ticks=[
            Tick(x(at_ms), datetime.fromtimestamp(at_ms / 1000, UTC).strftime(clock_form), at_ms)
            for at_ms in _x_ticks(start, end)
        ],
        x_form="minute" if is_short else "day",
        allowed=y(allowed),
        markers=_markers(started, start, end, x),
        areas=[(x(step.at_ms), round(x(step.end_ms) - x(step.at_ms), 1), step) for step in known],
        summary=(
            f"{mismatches:,} of {compared:,} pairs differ ({percent(mismatches / compared)}); "
            f"highest bar {percent(max(step.ratio or 0.0 for step in known))}, last {percent(known[-1].ratio)}"
        ),
    )


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _y_ticks(most: float) -> list[float]:
    """Return two to five round numbers, from zero to a number above the maximum."""
    rough = max(most, 1e-6) / 3
    size = 10 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [round(min(1.0, step * number), 9) for number in range(ceil(most / step) + 1)]


def _x_ticks(start: int, end: int) -> list[int]:
    """Return a few round times between start and end."""
    minute, hour = 60_000, 3_600_000
    sizes = [minute * n for n in (1, 2, 5, 10, 15, 30)] + [hour * n for n in (1, 2, 3, 6, 12, 24, 48, 120)]
    size = next((size for size in sizes if (end - start) / size <= _TICKS), sizes[-1])
    first = -(-start // size) * size
    edge = (end - start) * 0.04
    return [at for at in range(first, end, size) if start + edge <= at <= end - edge]


def _markers(started: Iterable[RunStarted], start: int, end: int, x: Callable[[float], float]) -> list[Marker]:
    """Return a marker for each run that started within the chart. Omit a label that would overlap the previous one."""
    markers: list[Marker] = []
    last = -WIDTH
    for one in started:
        if not start <= one.at_ms <= end:
            continue
        at = x(one.at_ms)
        text = one.revision or "" if one.by in ("revision", "rollout") else str(one.by)
        has_room = at - last >= _LABEL_WIDTH
        last = at if has_room else last
        why = _STARTED_BY[one.by] + (f" {one.revision}" if one.revision and one.by == "revision" else "")
        title = f"run {one.id}: {why}" + (f" (v2 is {one.revision})" if one.revision and one.by != "revision" else "")
        markers.append(Marker(at, text[:18] if has_room else "", title, at > WIDTH - _LABEL_WIDTH))
    return markers


def sparkline(steps: Sequence[Step], allowed: float) -> str:
    """Return the points of a line, 100 units wide and 24 high; empty if there is nothing to draw."""
    known = [(at, step) for at, step in enumerate(steps) if step.compared]
    if len(known) < 2:  # noqa: PLR2004
        return ""
    most = max([allowed, *(step.ratio or 0.0 for _, step in known)]) or 1.0
    return _points(
        (round(100 * at / (len(steps) - 1), 1), round(23 - 22 * (step.ratio or 0.0) / most, 1)) for at, step in known
    )


class Bar(NamedTuple):
    """A bar, at most 100 units high."""

    at: float
    width: float
    height: float
    number: int
    at_ms: int


def bars(counts: Sequence[int], start_ms: int, step_ms: int) -> list[Bar]:
    """Return one bar for each step with a count; the chart is 1,000 units wide."""
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


def funnel_bars(shown: Funnel) -> list[tuple[FunnelStep, float, float]]:
    """Return each step with the widths of the kept and lost requests; the largest step is `WIDTH` wide."""
    most = max((step.count for step in shown.steps), default=0)

    def width(count: int) -> float:
        return max(_LEAST_FUNNEL_WIDTH, round(WIDTH * min(count, most) / most, 1)) if count > 0 and most > 0 else 0.0

    losses = [sum(loss.count for loss in step.losses if loss.count > 0) for step in shown.steps]
    return [(step, width(step.count - lost), width(lost)) for step, lost in zip(shown.steps, losses, strict=True)]
