"""v1's and v2's durations side by side: quantiles, and where their difference lies."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict.histogram import bucket_of
from shadowdiff.verdict.latency import QUANTILES, compare_latency, span_of

SPREADS = st.dictionaries(st.integers(0, 90), st.integers(1, 500), min_size=1, max_size=12)


def _drawn(n: int, mean_ms: float, seed: int) -> Counter[int]:
    dice = random.Random(seed)
    return Counter(bucket_of(dice.expovariate(1 / mean_ms)) for _ in range(n))


@given(SPREADS, SPREADS, st.sampled_from(QUANTILES))
def test_the_difference_of_what_was_seen_lies_in_its_interval(
    primary: dict[int, int], candidate: dict[int, int], quantile: float
) -> None:
    """Whatever the durations are."""
    compared = compare_latency("GET /", primary, candidate)
    assert compared is not None
    row = next(row for row in compared.quantiles if row.quantile == quantile)
    seen, span = row.candidate_ms - row.primary_ms, row.difference
    assert span.lower_ms is None or span.lower_ms <= seen
    assert span.upper_ms is None or seen <= span.upper_ms


def test_two_equal_sides_differ_by_nothing_that_can_be_told() -> None:
    """Nothing is inside every interval."""
    compared = compare_latency("GET /", _drawn(3000, 20, 1), _drawn(3000, 20, 2))
    assert compared is not None
    for row in compared.quantiles:
        assert (row.difference.lower_ms or -1) < 0 < (row.difference.upper_ms or 1), row


def test_a_slower_v2_is_seen_in_every_quantile() -> None:
    """Three times as slow, over three thousand pairs."""
    compared = compare_latency("GET /", _drawn(3000, 20, 1), _drawn(3000, 60, 2))
    assert compared is not None
    assert all(row.difference.lower_ms is not None and row.difference.lower_ms > 0 for row in compared.quantiles)


@pytest.mark.parametrize("quantile", QUANTILES)
def test_the_interval_narrows_with_the_pairs(quantile: float) -> None:
    """And with few pairs a high quantile has no upper end."""
    few, many = span_of(_drawn(20, 20, 1), quantile, 0.05), span_of(_drawn(20_000, 20, 1), quantile, 0.05)
    assert many.lower_ms is not None
    assert many.upper_ms is not None
    assert (few.lower_ms or 0) <= many.lower_ms
    assert few.upper_ms is None or many.upper_ms <= few.upper_ms


def test_a_side_without_durations_is_not_compared() -> None:
    """A recorder that measures nothing gives no comparison."""
    assert compare_latency("GET /", {}, {5: 10}) is None


def test_the_true_quantile_is_missed_by_no_more_runs_than_the_level() -> None:
    """Looked at after each hundred of two thousand durations, at 5 %: in at most one run of ten of a hundred."""
    missed = 0
    for seed in range(100):
        dice, counts = random.Random(seed), Counter[int]()
        wrong = False
        for n in range(1, 2001):
            counts[bucket_of(dice.expovariate(1 / 20))] += 1
            if n % 100 == 0:
                span = span_of(counts, 0.9, 0.05)
                wrong = wrong or not (span.lower_ms or 0) <= 46.05 <= (span.upper_ms or 1e9)
        missed += wrong
    assert missed <= 10
