"""Test the durations of v1 and v2: quantiles, and the interval of their difference."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict.latency import QUANTILES, compare_latency, span_of
from shadowdiff.verdict.latency_buckets import bucket_of

SPREADS = st.dictionaries(st.integers(0, 90), st.integers(1, 500), min_size=1, max_size=12)


def _drawn(n: int, mean_ms: float, seed: int) -> Counter[int]:
    dice = random.Random(seed)
    return Counter(bucket_of(dice.expovariate(1 / mean_ms)) for _ in range(n))


@given(SPREADS, SPREADS, st.sampled_from(QUANTILES))
def test_observed_difference_is_in_its_interval(
    primary: dict[int, int], candidate: dict[int, int], quantile: float
) -> None:
    """For any durations, the interval contains the observed difference."""
    compared = compare_latency("GET /", primary, candidate)
    assert compared is not None
    row = next(row for row in compared.quantiles if row.quantile == quantile)
    seen, span = row.candidate_ms - row.primary_ms, row.difference
    assert span.lower_ms is None or span.lower_ms <= seen
    assert span.upper_ms is None or seen <= span.upper_ms


def test_zero_is_in_the_interval_of_two_equal_sides() -> None:
    """Zero is inside every interval."""
    compared = compare_latency("GET /", _drawn(3000, 20, 1), _drawn(3000, 20, 2))
    assert compared is not None
    for row in compared.quantiles:
        assert (row.difference.lower_ms or -1) < 0 < (row.difference.upper_ms or 1), row


def test_slower_v2_shows_in_every_quantile() -> None:
    """v2 is three times as slow in three thousand pairs."""
    compared = compare_latency("GET /", _drawn(3000, 20, 1), _drawn(3000, 60, 2))
    assert compared is not None
    assert all(row.difference.lower_ms is not None and row.difference.lower_ms > 0 for row in compared.quantiles)


@pytest.mark.parametrize("quantile", QUANTILES)
def test_interval_narrows_with_more_pairs(quantile: float) -> None:
    """With few pairs a high quantile has no upper end."""
    few, many = span_of(_drawn(20, 20, 1), quantile, 0.05), span_of(_drawn(20_000, 20, 1), quantile, 0.05)
    assert many[1] is not None
    assert few[0] <= many[0]
    assert few[1] is None or many[1] <= few[1]


def test_side_without_durations_is_not_compared() -> None:
    """A side without durations is not compared."""
    assert compare_latency("GET /", {}, {5: 10}) is None


def test_true_quantile_is_missed_in_no_more_runs_than_the_level() -> None:
    """At a level of 5 %, with a check after each hundred of two thousand durations, at most 10 of 100 runs miss it."""
    missed = 0
    for seed in range(100):
        dice, counts = random.Random(seed), Counter[int]()
        wrong = False
        for n in range(1, 2001):
            counts[bucket_of(dice.expovariate(1 / 20))] += 1
            if n % 100 == 0:
                lower_ms, upper_ms = span_of(counts, 0.9, 0.05)
                wrong = wrong or not lower_ms <= 46.05 <= (upper_ms or 1e9)
        missed += wrong
    assert missed <= 10
