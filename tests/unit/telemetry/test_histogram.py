"""Test histograms of durations."""

from __future__ import annotations

import bisect

from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.telemetry.histogram import BOUNDS_S, EXEMPLAR_EVERY_S, Histogram


def test_a_bound_belongs_to_its_own_bucket() -> None:
    """Prometheus' `le` includes the bound."""
    histogram = Histogram()
    for bound in BOUNDS_S:
        histogram.observe(bound)
    assert histogram.counts == [1] * len(BOUNDS_S) + [0]


def test_a_duration_above_every_bound_is_counted() -> None:
    """The last bucket has no upper bound."""
    histogram = Histogram()
    histogram.observe(1e9)
    assert histogram.counts[-1] == 1
    assert histogram.sum_s == 1e9


def test_an_unmeasured_duration_is_not_counted() -> None:
    """A negative duration is unknown, and NaN is not a duration."""
    histogram = Histogram()
    histogram.observe(-1.0)
    histogram.observe(float("nan"))
    assert sum(histogram.counts) == 0
    assert histogram.sum_s == 0.0


@given(st.lists(st.floats(0, 1e6)))
def test_every_duration_is_in_exactly_one_bucket(durations: list[float]) -> None:
    """Counts and sum cover all observations."""
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)
    expected = [0] * (len(BOUNDS_S) + 1)
    for seconds in durations:
        expected[bisect.bisect_left(BOUNDS_S, seconds)] += 1
    assert histogram.counts == expected
    assert histogram.sum_s == sum(durations)


def test_a_copy_does_not_change() -> None:
    """A scrape has the values of one moment."""
    histogram = Histogram()
    histogram.observe(0.1, lambda: "first")
    taken = histogram.copy()
    histogram.observe(0.1, lambda: "second", EXEMPLAR_EVERY_S)
    assert sum(taken.counts) == 1
    assert taken.sum_s == 0.1
    assert list(taken.traces.values()) == [("first", 0.1)]


def test_a_bucket_reads_a_trace_id_at_intervals() -> None:
    """A rare bucket checks every time, so slow requests have traces. A busy bucket does not check each request."""
    histogram = Histogram()
    looked: list[str] = []

    def observe(seconds: float, trace_id: str, now_s: float) -> None:
        def look() -> str:
            looked.append(trace_id)
            return trace_id

        histogram.observe(seconds, look, now_s)

    for number in range(10):
        observe(0.1, f"fast-{number}", number * EXEMPLAR_EVERY_S / 4)
    observe(9.0, "slow", 0.0)
    observe(9.5, "", EXEMPLAR_EVERY_S)
    assert ["fast-0", "fast-4", "fast-8", "slow", ""] == looked
    assert [("fast-8", 0.1), ("slow", 9.0)] == list(histogram.traces.values())
