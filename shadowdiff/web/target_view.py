"""A target as the pages show it: what is counted, how that went over time, its groups of mismatches.

In: the state and what the address asks for.  Out: values for the first page and a target's.
Holds: reads only, and bounded: one page of fingerprints, a chart of at most so many steps.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shadowdiff.report import Order, Page, Span, Wanted
from shadowdiff.verdict import compared_pairs, read_openings
from shadowdiff.web.advice import Advice, advice
from shadowdiff.web.chart import RatioChart, ratio_chart, spark
from shadowdiff.web.trend import WINDOWS, Step, Window, since_first, steps
from shadowdiff.web.views import TargetReport, report

if TYPE_CHECKING:
    from shadowdiff.web.state import TargetView, WebState

CHART_STEPS: Final = 90
SPARK_STEPS: Final = 30
_LEAST_POINTS: Final = 10
_DAY: Final = WINDOWS[2]
_FEW: Final = 5
SPANS: Final = {"1h": Span.HOUR, "6h": Span.DAY, "24h": Span.DAY, "7d": Span.WEEK, "30d": Span.WEEK}


@dataclass(frozen=True, slots=True)
class Shown:
    """A target as a line or the head of a page."""

    report: TargetReport
    ledger: dict[str, Any]
    advice: Advice | None
    window: Window
    spark: str
    page: Page


class Course(NamedTuple):
    """How a target's pairs came out over a window; the chart is None where nothing was compared in it."""

    window: Window
    steps: list[Step]
    chart: RatioChart | None


async def overview(state: WebState, target: TargetView, base_url: str) -> Shown:
    """Return a target as the first page shows it."""
    name = target.target.name
    window = await window_of(state, name, None)
    known, ledger, line, page = await asyncio.gather(
        report(state, target, base_url),
        state.ledger(name),
        course(state, target, window, SPARK_STEPS),
        few(state, name, window),
    )
    drawn = spark(line.steps, target.target.gate.max_mismatch_ratio)
    return Shown(known, ledger, advice(known, ledger), window, drawn, page)


async def few(state: WebState, target: str, window: Window) -> Page:
    """Return the groups of mismatches that are worth the first look."""
    wanted = Wanted(order=Order.COUNT, limit=_FEW, span=SPANS[window.name])
    return await state.fingerprints.page(target, wanted, await compared_pairs(state.reader, target))


async def window_of(state: WebState, target: str, asked: str | None) -> Window:
    """Return the window that was asked for; else the shortest that holds what the last day counted."""
    named = next((window for window in WINDOWS if window.name == asked), None)
    if named is not None:
        return named
    day = await state.trends.points(target, _DAY, state.now_ms())
    counted = [at for at, point in enumerate(reversed(day)) if any(point.results.values())]
    oldest = max(counted, default=0)
    if oldest == 0:
        return WINDOWS[0]
    hour = await state.trends.points(target, WINDOWS[0], state.now_ms()) if oldest == 1 else []
    if hour and sum(sum(p.results.values()) for p in hour) == sum(sum(p.results.values()) for p in day):
        return WINDOWS[0]
    return WINDOWS[1] if oldest < 6 else _DAY  # noqa: PLR2004


async def course(state: WebState, target: TargetView, window: Window, most: int = CHART_STEPS) -> Course:
    """Return how a target's pairs came out over a window."""
    name, now_ms = target.target.name, state.now_ms()
    points = since_first(await state.trends.points(name, window, now_ms), _LEAST_POINTS)
    made = steps(points, window.unit, most)
    opened = await read_openings(state.reader, name) if most == CHART_STEPS else []
    return Course(window, made, ratio_chart(made, opened, target.target.gate.max_mismatch_ratio))
