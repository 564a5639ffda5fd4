"""Charts as numbers: bounded steps, gaps that stay gaps, bands that hold the ratio, marks where epochs opened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict import Opened, OpenedBy, Point, Unit
from shadowdiff.web.chart import bars, ratio_chart, spark
from shadowdiff.web.trend import steps, wilson

MINUTE = Unit.MINUTE.ms


def _points(*counts: tuple[int, int]) -> list[Point]:
    return [
        Point(at_ms=at * MINUTE, results={"match": n - k, "ignored": 0, "mismatch": k, "incomparable": 0})
        for at, (n, k) in enumerate(counts)
    ]


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_the_band_holds_the_ratio_and_stays_a_share(n: int, k: int) -> None:
    """Whatever was counted."""
    k = min(k, n)
    lower, upper = wilson(k, n)
    assert 0.0 <= lower <= k / n + 1e-9
    assert k / n - 1e-9 <= upper <= 1.0


def test_the_band_is_wilsons() -> None:
    """Figures from his paper's formula: 10 of 100 lie between 5.5 % and 17.4 %."""
    assert (0.0552, 0.1744) == tuple(round(end, 4) for end in wilson(10, 100))


def test_steps_are_bounded_and_lose_no_pair() -> None:
    """Neighbours are put together."""
    made = steps(_points(*((10, 1) for _ in range(360))), Unit.MINUTE, 90)
    assert (90, 3600, 360) == (len(made), sum(one.compared for one in made), sum(one.mismatches for one in made))


def test_a_gap_stays_a_gap() -> None:
    """No line is drawn over time in which nothing was compared; a lone step is a dot."""
    chart = ratio_chart(steps(_points((10, 1), (10, 1), (0, 0), (10, 5), (0, 0)), Unit.MINUTE, 90), [], 0.01)
    assert chart is not None
    assert (1, 1, 1) == (len(chart.lines), len(chart.bands), len(chart.dots))
    assert "7 of 30 pairs differ" in chart.said


def test_nothing_compared_is_no_chart() -> None:
    """The page says so in words."""
    assert ratio_chart(steps(_points((0, 0), (0, 0)), Unit.MINUTE, 90), [], 0.01) is None
    assert "" == spark(steps(_points((10, 1)), Unit.MINUTE, 90), 0.01)


def test_epochs_within_the_window_are_marked() -> None:
    """With v2's revision as its name; those before it are not."""
    opened = [
        Opened(at_ms=-5 * MINUTE, id=1, by=OpenedBy.START, revision=None),
        Opened(at_ms=2 * MINUTE, id=2, by=OpenedBy.REVISION, revision="2026.2"),
        Opened(at_ms=2 * MINUTE + 1, id=3, by=OpenedBy.RULES, revision="2026.2"),
    ]
    chart = ratio_chart(steps(_points((10, 1), (10, 1), (10, 1), (10, 1)), Unit.MINUTE, 90), opened, 0.01)
    assert chart is not None
    assert ["2026.2", ""] == [mark.text for mark in chart.markers]
    assert "epoch 3: the rules changed (v2 is 2026.2)" == chart.markers[1].title


@pytest.mark.parametrize("most", [1e-6, 0.0004, 0.001, 0.03, 0.5, 1.0])
def test_the_axis_has_few_round_ticks_from_nothing_to_above_the_most(most: float) -> None:
    """At any height."""
    chart = ratio_chart(steps(_points((1_000_000, int(most * 1_000_000))), Unit.MINUTE, 90), [], most)
    assert chart is not None
    assert 2 <= len(chart.y_ticks) <= 5
    assert ("0%", 100.0) == (chart.y_ticks[0].text, chart.y_ticks[0].at)


def test_bars_show_every_count() -> None:
    """The greatest is a hundred high, and even one of thousands is seen."""
    made = bars([0, 1, 5000], 0, MINUTE)
    assert [(1, 6.0), (5000, 100.0)] == [(bar.number, bar.height) for bar in made]
