"""The interval is valid for any number of checks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict import sequence
from shadowdiff.verdict.sequence import (
    FLAT,
    FLAT_OF_ROUTES,
    chance_of_so_many,
    evidence,
    exceeds,
    log_mixture,
    lower_end,
    pairs_until_exceeds,
    pairs_until_within,
    stays_within,
    upper_end,
)

ALLOWED = 0.001
DOCS = (Path(__file__).parents[3] / "docs" / "verdict.md").read_text(encoding="utf-8")
COUNTS = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
RATIOS = st.floats(1e-6, 0.5)


def test_clean_release_passes_within_4800_pairs_at_a_limit_of_a_tenth_of_a_percent() -> None:
    """Most of the prior is near the limit. A flat prior would need 12,417 pairs."""
    assert 4754 == pairs_until_within(0, 0, ALLOWED, 0.05)
    assert pairs_until_within(0, 0, ALLOWED, 0.05) in range(4700, 4801)


@given(COUNTS, RATIOS, st.booleans())
def test_interval_contains_the_observed_ratio(counts: tuple[int, int], allowed: float, broad: bool) -> None:
    """The observed ratio is always inside the interval."""
    n, k = counts
    assert 0 <= lower_end(n, k, allowed, 0.025, broad=broad) <= k / n <= upper_end(n, k, allowed, 0.05) <= 1


@given(COUNTS, RATIOS)
def test_decisions_are_the_ends_of_the_interval(counts: tuple[int, int], allowed: float) -> None:
    """`exceeds` means a lower end above the limit, `stays_within` an upper end at or below it."""
    n, k = counts
    low, high = lower_end(n, k, allowed, 0.025), upper_end(n, k, allowed, 0.05)
    if not math.isclose(low, allowed, rel_tol=1e-6):
        assert (low > allowed) == exceeds(n, k, allowed, 0.025)
    if not math.isclose(high, allowed, rel_tol=1e-6):
        assert (high <= allowed) == stays_within(n, k, allowed, 0.05)


@given(COUNTS, RATIOS)
def test_smaller_error_has_a_wider_interval(counts: tuple[int, int], allowed: float) -> None:
    """A smaller error never excludes more ratios."""
    n, k = counts
    assert lower_end(n, k, allowed, 0.01) <= lower_end(n, k, allowed, 0.05)
    assert upper_end(n, k, allowed, 0.05) <= upper_end(n, k, allowed, 0.01)


@pytest.mark.parametrize("broad", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_evidence_is_a_martingale_of_mean_one(n: int, broad: bool) -> None:
    """The mean of M over all outcomes of n pairs at the allowed ratio is 1, as the guarantee requires."""
    p = 0.2
    mean = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) * math.exp(evidence(n, k, p, broad=broad)) for k in range(n + 1)
    )
    assert math.isclose(1.0, mean, rel_tol=1e-9)


@pytest.mark.parametrize(("n", "k"), [(0, 0), (100, 0), (5000, 1), (5000, 2), (20_000, 12)])
def test_pairs_needed_are_those_that_decide(n: int, k: int) -> None:
    """After this number of equal pairs the upper end is within the limit, but not after one fewer."""
    needed = pairs_until_within(n, k, ALLOWED, 0.05)
    assert needed is not None
    ratio = k / n if n else 0.0
    assert stays_within(n + needed, ratio * (n + needed), ALLOWED, 0.05)
    assert needed == 0 or not stays_within(n + needed - 1, ratio * (n + needed - 1), ALLOWED, 0.05)


def test_no_number_of_pairs_moves_a_ratio_across_the_limit() -> None:
    """More pairs with the same ratio never change whether the ratio is above the limit."""
    assert (None, None) == (pairs_until_within(100, 5, ALLOWED, 0.05), pairs_until_exceeds(10_000, 1, ALLOWED, 0.05))


def test_limit_of_zero_fails_on_the_first_mismatch_and_is_never_proven() -> None:
    """No number of pairs proves that nothing differs."""
    assert exceeds(1000, 1, 0.0, 0.025)
    assert not exceeds(1000, 0, 0.0, 0.025)
    assert not stays_within(10**9, 0, 0.0, 0.05)
    assert pairs_until_within(1000, 0, 0.0, 0.05) is None


def test_limit_of_one_always_holds() -> None:
    """With a limit of 1, every difference is allowed."""
    assert stays_within(1, 1, 1.0, 0.05)
    assert not exceeds(100, 100, 1.0, 0.05)


@pytest.mark.parametrize(
    ("expected", "n", "k", "p"),
    [(1.0, 10, 0, 0.5), (0.001, 1, 1, 0.001), (1 - 0.999**3, 3, 1, 0.001), (0.25, 2, 2, 0.5), (0.0, 5, 1, 0.0)],
)
def test_chance_of_so_many_is_binomial(expected: float, n: int, k: int, p: float) -> None:
    """The function returns the probability of k or more of n pairs at the ratio p."""
    assert math.isclose(expected, chance_of_so_many(n, k, p), abs_tol=1e-12)


def test_few_pairs_that_all_differ_are_enough_for_a_small_route() -> None:
    """Half of a route's prior is flat, so two of two pairs exceed 0.1 %. With the target's prior they do not."""
    assert exceeds(3, 3, ALLOWED, 0.0001, broad=True)
    assert exceeds(2, 2, ALLOWED, 0.0001, broad=True)
    assert not exceeds(2, 2, ALLOWED, 0.0001)


@pytest.mark.parametrize(
    ("n", "k", "low", "high"),
    [(4061, 416, 8.010, 12.734), (100, 10, 1.494, 28.448), (1000, 500, 42.45, 57.32), (100_000, 100, 0.06905, 0.13655)],
)
def test_interval_is_narrow_far_from_the_limit(n: int, k: int, low: float, high: float) -> None:
    """At a limit of 0.1 %, the first interval in percent would be 4.870 to 18.083 without the flat share."""
    found = (100 * lower_end(n, k, ALLOWED, 0.025), 100 * upper_end(n, k, ALLOWED, 0.05))
    assert (low, high) == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize(
    ("share", "low", "high", "clean"),
    [
        (1e-300, 4.870, 18.083, 4741),
        (0.01, 8.010, 12.734, 4754),
        (0.1, 8.208, 12.469, 4869),
        (1.0, 8.433, 12.174, 12417),
    ],
)
def test_flat_share_has_the_documented_effect(
    share: float, low: float, high: float, clean: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test compares the interval of 416 of 4,061 pairs, and the pairs until a pass."""
    monkeypatch.setattr(sequence, "FLAT", min(share, 1 - 1e-15))
    ends = lower_end.__wrapped__(4061, 416, ALLOWED, 0.025), upper_end.__wrapped__(4061, 416, ALLOWED, 0.05)
    assert (low, high) == pytest.approx(tuple(100 * end for end in ends), rel=1e-4)
    assert clean == pairs_until_within(0, 0, ALLOWED, 0.05)
    row = f"{low:.3g} % to {high:.3g} %"
    assert row in DOCS
    assert f"{clean:,}" in DOCS


@given(COUNTS, RATIOS)
def test_interval_is_never_much_wider_than_that_of_either_prior(counts: tuple[int, int], allowed: float) -> None:
    """For any true ratio, a share of a prior costs only the logarithm of that share."""
    n, k = counts
    flat = log_mixture(n, k, 1.0)  # at a limit of 1, both parts are flat
    assert log_mixture(n, k, allowed) >= flat + math.log(FLAT) - 1e-6
    assert log_mixture(n, k, allowed, broad=True) >= flat + math.log(FLAT_OF_ROUTES) - 1e-6


@pytest.mark.parametrize("broad", [False, True])
@pytest.mark.parametrize("allowed", [0.001, 0.05, 0.9])
def test_mixture_is_a_distribution(allowed: float, broad: bool) -> None:
    """The probabilities of all outcomes add up to 1, so M is a martingale of mean 1 for every ratio."""
    for n in (1, 5, 40):
        whole = sum(math.comb(n, k) * math.exp(log_mixture(n, k, allowed, broad=broad)) for k in range(n + 1))
        assert math.isclose(1.0, whole, rel_tol=1e-9)
