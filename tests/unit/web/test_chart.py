"""Test chart data: bounded steps, visible gaps, bands that contain the ratio, and marks at the start of runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.queries.trend import steps, wilson
from shadowdiff.verdict import Point, RunStarted, StartedBy, Unit
from shadowdiff.web.chart import bars, ratio_chart, sparkline

MINUTE = Unit.MINUTE.ms


def _points(*counts: tuple[int, int]) -> list[Point]:
    return [
        Point(at_ms=at * MINUTE, results={"match": n - k, "ignored": 0, "mismatch": k, "incomparable": 0})
        for at, (n, k) in enumerate(counts)
    ]


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_the_band_holds_the_ratio_and_stays_a_share(n: int, k: int) -> None:
    """For any counts, the band contains the ratio and stays between 0 and 1."""
    k = min(k, n)
    lower, upper = wilson(k, n)
    assert 0.0 <= lower <= k / n + 1e-9
    assert k / n - 1e-9 <= upper <= 1.0


def test_the_band_is_wilsons() -> None:
    """By the formula in Wilson's paper, 10 of 100 are between 5.5 % and 17.4 %."""
    assert (0.0552, 0.1744) == tuple(round(end, 4) for end in wilson(10, 100))


def test_steps_are_bounded_and_lose_no_pair() -> None:
    """Adjacent steps are merged."""
    made = steps(_points(*((10, 1) for _ in range(360))), Unit.MINUTE, 90)
    assert (90, 3600, 360) == (len(made), sum(one.compared for one in made), sum(one.mismatches for one in made))


def test_a_gap_stays_a_gap() -> None:
    """No line crosses a period without comparisons, and a single step is a dot."""
    chart = ratio_chart(steps(_points((10, 1), (10, 1), (0, 0), (10, 5), (0, 0)), Unit.MINUTE, 90), [], 0.01)
    assert chart is not None
    assert (1, 1, 1) == (len(chart.lines), len(chart.bands), len(chart.dots))
    assert "7 of 30 pairs differ" in chart.summary


def test_a_window_without_pairs_has_no_chart() -> None:
    """The page describes this in a sentence."""
    assert ratio_chart(steps(_points((0, 0), (0, 0)), Unit.MINUTE, 90), [], 0.01) is None
    assert "" == sparkline(steps(_points((10, 1)), Unit.MINUTE, 90), 0.01)


def test_runs_within_the_window_are_marked() -> None:
    """The mark has v2's revision as its name. Earlier runs have no mark."""
    opened = [
        RunStarted(at_ms=-5 * MINUTE, id=1, by=StartedBy.START, revision=None),
        RunStarted(at_ms=2 * MINUTE, id=2, by=StartedBy.REVISION, revision="2026.2"),
        RunStarted(at_ms=2 * MINUTE + 1, id=3, by=StartedBy.RULES, revision="2026.2"),
    ]
    chart = ratio_chart(steps(_points((10, 1), (10, 1), (10, 1), (10, 1)), Unit.MINUTE, 90), opened, 0.01)
    assert chart is not None
    assert ["2026.2", ""] == [mark.text for mark in chart.markers]
    assert "run 3: the rules changed (v2 is 2026.2)" == chart.markers[1].title


@pytest.mark.parametrize("most", [1e-6, 0.0004, 0.001, 0.03, 0.5, 1.0])
def test_the_axis_has_few_round_ticks_from_zero_to_above_the_maximum(most: float) -> None:
    """For any maximum, the axis has few round ticks."""
    chart = ratio_chart(steps(_points((1_000_000, int(most * 1_000_000))), Unit.MINUTE, 90), [], most)
    assert chart is not None
    assert 2 <= len(chart.y_ticks) <= 5
    assert ("0\u202f%", 100.0) == (chart.y_ticks[0].text, chart.y_ticks[0].at)


def test_bars_show_every_count() -> None:
    """The largest count has a height of 100, and a single pair among thousands is visible."""
    made = bars([0, 1, 5000], 0, MINUTE)
    assert [(1, 6.0), (5000, 100.0)] == [(bar.number, bar.height) for bar in made]
