"""The verdict's error rates and its power, on releases drawn by chance and looked at after every pair.

The quick form runs always, with fewer runs; the deep one (`--long`) is what the figures in docs/verdict.md are from:
`scripts/test tests/simulation --long --log-cli-level=INFO`. All draws are seeded.
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
    verdicts,
)

log = logging.getLogger(__name__)

ALLOWED = 0.001
PAIRS = 5_000


class Size(NamedTuple):
    """How many runs."""

    runs: int


SIZES = [
    pytest.param(Size(150), id="quick"),
    pytest.param(Size(2000), id="deep", marks=[pytest.mark.deep, pytest.mark.timeout(900)]),
]


def evenly(count: int, ratio: float) -> list[Route]:
    """Return so many routes of falling shares, each with this ratio."""
    return [Route(share=1 / (place + 1), ratio=ratio) for place in range(count)]


def share_failing(routes: list[Route], runs: int, pairs: int = PAIRS, within: int | None = None) -> dict[str, float]:
    """Return the share of runs that each way of deciding fails, within so many pairs."""
    failed: dict[str, int] = dict.fromkeys(("sequence", "fixed", "ratio"), 0)
    for seed in range(runs):
        for way, at in first_fail(routes, pairs, ALLOWED, seed).items():
            failed[way] += at is not None and at <= (within or pairs)
    return {way: count / runs for way, count in failed.items()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("routes", [1, 40])
def test_a_release_exactly_at_the_limit_fails_no_oftener_than_the_level(size: Size, routes: int) -> None:
    """The worst sound release there is, looked at after every pair: fixed interval and plain ratio fail this."""
    failed = share_failing(evenly(routes, ALLOWED), size.runs)
    log.info("failed falsely: %s", failed)
    assert failed["sequence"] <= binomial_bound(size.runs, ALPHA), failed
    assert failed["fixed"] > binomial_bound(size.runs, ALPHA), failed
    assert failed["ratio"] > 0.5, failed


@pytest.mark.parametrize("size", SIZES)
def test_a_release_at_half_the_limit_fails_hardly_ever(size: Size) -> None:
    """Where a plain ratio, looked at ten times, fails most of them."""
    failed = share_failing(evenly(10, ALLOWED / 2), size.runs)
    log.info("failed falsely: %s", failed)
    assert failed["sequence"] <= 0.02, failed
    assert failed["ratio"] > 0.3, failed


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("ratio", "within"), [(0.005, 4000), (0.02, 600)])
def test_regressions_are_found_in_time(size: Size, ratio: float, within: int) -> None:
    """At a limit of 0.1 %: one of 0.5 % within 4,000 pairs, one of 2 % within 600, in 95 % of runs and more."""
    failed = share_failing(evenly(1, ratio), size.runs, pairs=within)
    log.info("found: %s", failed)
    assert failed["sequence"] >= 0.95 - (0.05 if size.runs < 1000 else 0.0), failed


@pytest.mark.parametrize("size", SIZES)
def test_a_regression_is_found_among_many_routes_too(size: Size) -> None:
    """Half of the level is the target's own, however many routes share the rest."""
    failed = share_failing(evenly(40, 0.02), size.runs, pairs=600)
    log.info("found: %s", failed)
    assert failed["sequence"] >= 0.95 - (0.05 if size.runs < 1000 else 0.0), failed


@pytest.mark.parametrize("size", SIZES)
def test_a_small_route_that_is_wholly_broken_never_passes(size: Size) -> None:
    """With 0.05 % of the traffic it is below a limit of 0.1 % of the whole: once it was seen, no verdict is a pass."""
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
def test_a_clean_release_passes_and_a_release_above_the_limit_does_not(size: Size) -> None:
    """Without mismatches after 4,800 pairs; at 1.5 times the limit, in no more runs than the level."""
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


def test_diffys_thresholds_beside_it() -> None:
    """On two equal versions with noise of 1 %, they call a field different in many runs; they have no level."""
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
