"""The interval that holds however often it is looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict.sequence import (
    chance_of_so_many,
    evidence,
    exceeds,
    lower_end,
    pairs_until_exceeds,
    pairs_until_within,
    stays_within,
    upper_end,
)

ALLOWED = 0.001
COUNTS = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
RATIOS = st.floats(1e-6, 0.5)


def test_a_clean_gate_of_a_tenth_of_a_percent_passes_within_4800_pairs() -> None:
    """The prior lies where the decision is taken; a uniform one would take 12,500."""
    assert pairs_until_within(0, 0, ALLOWED, 0.05) in range(4700, 4801)


@given(COUNTS, RATIOS, st.booleans())
def test_the_interval_holds_the_observed_ratio(counts: tuple[int, int], allowed: float, broad: bool) -> None:
    """What was seen is never excluded by itself."""
    n, k = counts
    assert 0 <= lower_end(n, k, allowed, 0.025, broad=broad) <= k / n <= upper_end(n, k, allowed, 0.05) <= 1


@given(COUNTS, RATIOS)
def test_the_decisions_are_the_ends_of_the_interval(counts: tuple[int, int], allowed: float) -> None:
    """`exceeds` is the lower end above the limit, `stays_within` the upper end at or below it."""
    n, k = counts
    low, high = lower_end(n, k, allowed, 0.025), upper_end(n, k, allowed, 0.05)
    if not math.isclose(low, allowed, rel_tol=1e-6):
        assert (low > allowed) == exceeds(n, k, allowed, 0.025)
    if not math.isclose(high, allowed, rel_tol=1e-6):
        assert (high <= allowed) == stays_within(n, k, allowed, 0.05)


@given(COUNTS, RATIOS)
def test_a_smaller_level_gives_a_wider_interval(counts: tuple[int, int], allowed: float) -> None:
    """More caution never excludes more."""
    n, k = counts
    assert lower_end(n, k, allowed, 0.01) <= lower_end(n, k, allowed, 0.05)
    assert upper_end(n, k, allowed, 0.05) <= upper_end(n, k, allowed, 0.01)


@pytest.mark.parametrize("broad", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_the_evidence_is_a_martingale_of_mean_one(n: int, broad: bool) -> None:
    """Over all outcomes of n pairs at the allowed ratio, it is 1 on average: what the guarantee rests on."""
    p = 0.2
    mean = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) * math.exp(evidence(n, k, p, broad=broad)) for k in range(n + 1)
    )
    assert math.isclose(1.0, mean, rel_tol=1e-9)


@pytest.mark.parametrize(("n", "k"), [(0, 0), (100, 0), (5000, 1), (5000, 2), (20_000, 12)])
def test_the_pairs_still_needed_are_those_that_decide(n: int, k: int) -> None:
    """After that many more of the same kind the upper end is within, and one fewer is not enough."""
    needed = pairs_until_within(n, k, ALLOWED, 0.05)
    assert needed is not None
    ratio = k / n if n else 0.0
    assert stays_within(n + needed, ratio * (n + needed), ALLOWED, 0.05)
    assert needed == 0 or not stays_within(n + needed - 1, ratio * (n + needed - 1), ALLOWED, 0.05)


def test_no_number_of_pairs_takes_a_ratio_above_the_limit_below_it() -> None:
    """And none a ratio below the limit past it."""
    assert (None, None) == (pairs_until_within(100, 5, ALLOWED, 0.05), pairs_until_exceeds(10_000, 1, ALLOWED, 0.05))


def test_a_limit_of_nothing_is_broken_by_the_first_mismatch_and_never_proven() -> None:
    """No number of clean pairs shows that nothing differs."""
    assert exceeds(1000, 1, 0.0, 0.025)
    assert not exceeds(1000, 0, 0.0, 0.025)
    assert not stays_within(10**9, 0, 0.0, 0.05)
    assert pairs_until_within(1000, 0, 0.0, 0.05) is None


def test_a_limit_of_everything_is_always_kept() -> None:
    """Whatever differs is allowed."""
    assert stays_within(1, 1, 1.0, 0.05)
    assert not exceeds(100, 100, 1.0, 0.05)


@pytest.mark.parametrize(
    ("expected", "n", "k", "p"),
    [(1.0, 10, 0, 0.5), (0.001, 1, 1, 0.001), (1 - 0.999**3, 3, 1, 0.001), (0.25, 2, 2, 0.5), (0.0, 5, 1, 0.0)],
)
def test_the_chance_of_so_many_is_the_binomial(expected: float, n: int, k: int, p: float) -> None:
    """Of n at the ratio p, k or more."""
    assert math.isclose(expected, chance_of_so_many(n, k, p), abs_tol=1e-12)


def test_few_pairs_that_all_differ_are_enough_for_a_small_route() -> None:
    """Half of a route's prior is uniform: three of three at 0.1 % are past the limit; of the near prior alone, not."""
    assert exceeds(3, 3, ALLOWED, 0.0001, broad=True)
    assert not exceeds(3, 3, ALLOWED, 0.0001)
