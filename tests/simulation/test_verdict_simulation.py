"""Check the verdict's error rates and power, on random releases.

The short form has fewer runs. docs/verdict.md has the results of the long form (`--long`), which
`scripts/test tests/simulation --long --log-cli-level=INFO` runs. All draws are seeded.
"""

from __future__ import annotations

import logging
import random
from typing import NamedTuple

import pytest

from shadowdiff.verdict.decide import ALPHA, Decision, find
from tests.simulation.releases import (
    Release,
    Route,
    binomial_bound,
    diffy_fails,
    first_fail,
    misses,
    verdicts,
)

log = logging.getLogger(__name__)

ALLOWED = 0.001
PAIRS = 5_000


class Size(NamedTuple):
    """The number of runs in each simulation."""

    runs: int


SIZES = [
    pytest.param(Size(150), id="quick"),
    pytest.param(Size(2000), id="deep", marks=[pytest.mark.deep, pytest.mark.timeout(900)]),
]


def evenly(count: int, ratio: float) -> list[Route]:
    """Return the given number of routes with decreasing shares, each with this ratio."""
    return [Route(share=1 / (place + 1), ratio=ratio) for place in range(count)]


def share_failing(routes: list[Route], runs: int, pairs: int = PAIRS, within: int | None = None) -> dict[str, float]:
    """Return the share of runs that each method fails within the given number of pairs."""
    failed: dict[str, int] = dict.fromkeys(("sequence", "fixed", "ratio"), 0)
    for seed in range(runs):
        for way, at in first_fail(routes, pairs, ALLOWED, seed).items():
            failed[way] += at is not None and at <= (within or pairs)
    return {way: count / runs for way, count in failed.items()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("routes", [1, 40])
def test_release_at_the_limit_fails_no_more_often_than_the_level(size: Size, routes: int) -> None:
    """A release at the limit fails no more often than the level allows. Other methods fail the release more often."""
    failed = share_failing(evenly(routes, ALLOWED), size.runs)
    log.info("failed falsely: %s", failed)
    assert failed["sequence"] <= binomial_bound(size.runs, ALPHA), failed
    assert failed["fixed"] > binomial_bound(size.runs, ALPHA), failed
    assert failed["ratio"] > 0.5, failed


@pytest.mark.parametrize("size", SIZES)
def test_release_at_half_the_limit_hardly_ever_fails(size: Size) -> None:
    """A plain ratio fails most of these releases if it is checked ten times."""
    failed = share_failing(evenly(10, ALLOWED / 2), size.runs)
    log.info("failed falsely: %s", failed)
    assert failed["sequence"] <= 0.02, failed
    assert failed["ratio"] > 0.3, failed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("ratio", "within"), [(0.005, 4000), (0.02, 600)])
def test_regressions_are_found_in_time(size: Size, ratio: float, within: int) -> None:
    """At a limit of 0.1 %, 95 % of runs detect a ratio of 0.5 % within 4,000 pairs, and 2 % within 600 pairs."""
    failed = share_failing(evenly(1, ratio), size.runs, pairs=within)
    log.info("found: %s", failed)
    assert failed["sequence"] >= 0.95 - (0.05 if size.runs < 1000 else 0.0), failed


@pytest.mark.parametrize("size", SIZES)
def test_regression_is_found_among_many_routes(size: Size) -> None:
    """The target gets half of the error level, and the routes divide the other half."""
    failed = share_failing(evenly(40, 0.02), size.runs, pairs=600)
    log.info("found: %s", failed)
    assert failed["sequence"] >= 0.95 - (0.05 if size.runs < 1000 else 0.0), failed


@pytest.mark.parametrize("size", SIZES)
def test_completely_broken_small_route_never_passes(size: Size) -> None:
    """No verdict is a pass if v2 breaks a route, even one with 0.05 % of the traffic at a limit of 0.1 %."""
    routes = [*(Route(share=0.9995 / 20, ratio=0.0) for _ in range(20)), Route(share=0.0005, ratio=1.0)]
    broken, passed_unseen, passed, failed = len(routes) - 1, 0, 0, 0
    runs = max(20, size.runs // 20)
    for seed in range(runs):
        said: set[tuple[Decision, bool]] = set()
        for _, release, decision in verdicts(routes, 30_000, ALLOWED, seed, every=250):
            said.add((decision, broken in release.counted))
        passed += (Decision.PASS, True) in said
        passed_unseen += (Decision.PASS, False) in said
        failed += (Decision.FAIL, True) in said
    log.info("of %d: passed once seen, passed unseen, failed: %s", runs, (passed, passed_unseen, failed))
    assert (0, True) == (passed, failed > 0.9 * runs)


@pytest.mark.parametrize("size", SIZES)
def test_clean_release_passes_and_one_above_the_limit_does_not(size: Size) -> None:
    """A release without mismatches passes after 4,800 pairs. A release at 1.5 times the limit rarely passes."""
    release = Release()
    release.add(0, differs=False, times=4_800)
    assert Decision.PASS is find(release.evidence(), ALLOWED, None).decision
    runs = max(50, size.runs // 10)
    wrong = sum(
        any(
            decision is Decision.PASS for *_, decision in verdicts(evenly(1, 1.5 * ALLOWED), 20_000, ALLOWED, seed, 500)
        )
        for seed in range(runs)
    )
    log.info("passed above the limit: %.3f", wrong / runs)
    assert wrong / runs <= binomial_bound(runs, ALPHA)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("broad", [False, True], ids=["target", "route"])
@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.1, 0.5])
def test_interval_contains_the_true_ratio_at_all_looks(size: Size, ratio: float, broad: bool) -> None:
    """In most runs, the product's interval always contains the true ratio, but Wilson's interval does not."""
    missed, pairs = {"sequence": 0, "fixed": 0}, 1000 if size.runs < 1000 else 2500
    for seed in range(size.runs):
        for way, is_missed in misses(ratio, pairs, ALLOWED, seed, broad=broad).items():
            missed[way] += is_missed
    shares = {way: count / size.runs for way, count in missed.items()}
    log.info("the true ratio %g was outside at some look: %s", ratio, shares)
    assert shares["sequence"] <= binomial_bound(size.runs, ALPHA), shares
    assert shares["fixed"] > binomial_bound(size.runs, ALPHA), shares


def test_diffy_thresholds_for_comparison() -> None:
    """For two equal versions with 1 % noise, Diffy's thresholds report a difference in many runs."""
    dice, runs, wrong = random.Random(7), 200, 0
    for _ in range(runs):
        raw = noise = 0
        for seen in range(1, PAIRS + 1):
            raw += dice.random() < 0.01
            noise += dice.random() < 0.01
            if seen >= 100 and diffy_fails(raw, noise, seen):
                wrong += 1
                break
    log.info("Diffy's thresholds fail %.3f of two equal versions", wrong / runs)
    assert wrong / runs > 0.5
