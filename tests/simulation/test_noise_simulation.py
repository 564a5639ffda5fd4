"""Check the verdict's error rates and power with a control, on random releases.

The short form has fewer runs. docs/verdict.md has the results of the long form (`--long`), which
`scripts/test tests/simulation --long --log-cli-level=INFO` runs. All draws are seeded.
"""

from __future__ import annotations

import logging
import random
from typing import NamedTuple

import pytest

from shadowdiff.verdict.decide import ALPHA, Decision, find
from shadowdiff.verdict.evidence import Evidence, RouteEvidence
from shadowdiff.verdict.noise_gate import Noise, judge_places, with_noise
from shadowdiff.verdict.noise_set import Cells, NoisePlace, NoiseSet, NoiseState, Source
from shadowdiff.verdict.triples import TripleCounts
from tests.simulation.equals import PATHS, Counts, first_fail, place
from tests.simulation.releases import binomial_bound

log = logging.getLogger(__name__)

ALLOWED = 0.001
PAIRS = 5_000


class Size(NamedTuple):
    """The number of runs in each simulation."""

    runs: int


SIZES = [
    pytest.param(Size(120), id="quick"),
    pytest.param(Size(2000), id="deep", marks=[pytest.mark.deep, pytest.mark.timeout(1500)]),
]


def noisy(seed: int) -> list[float]:
    """Return 40 paths, up to a dozen of them with noise from 0.05 % to 50 %."""
    dice = random.Random(-seed)
    rates = [0.0] * PATHS
    for path in dice.sample(range(PATHS - 1), dice.randint(0, 12)):
        rates[path] = 0.0005 * 1000 ** dice.random()
    return rates


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_two_equal_versions_fail_no_more_often_than_the_level(size: Size, share: float) -> None:
    """Equal versions rarely fail, despite noise and bursts. McNemar's test and Diffy fail equal versions more often."""
    failed = {"sequence": 0, "fixed": 0, "diffy": 0}
    for seed in range(size.runs):
        for way, at in first_fail(noisy(seed), PAIRS, ALLOWED, seed, share=share, bursts=0.02).items():
            failed[way] += at is not None
    shares = {way: count / size.runs for way, count in failed.items()}
    log.info("two equal versions failed, control asked for %.0f %%: %s", 100 * share, shares)
    assert shares["sequence"] <= binomial_bound(size.runs, ALPHA), shares
    assert shares["fixed"] > binomial_bound(size.runs, ALPHA), shares
    assert shares["diffy"] > binomial_bound(size.runs, ALPHA), shares


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("wrong", "within"), [(0.005, 4000), (0.02, 600)])
@pytest.mark.parametrize("noise", [False, True], ids=["clean", "noisy"])
def test_regressions_are_found_in_time_with_a_control(size: Size, wrong: float, within: int, noise: bool) -> None:
    """95 % of runs detect an error rate of 0.5 % within 4,000 triples, and an error rate of 2 % within 600 triples."""
    rates = [0.0] * PATHS
    if noise:
        rates[:3] = [0.5, 0.3, 0.05]
    found = sum(
        (first_fail(rates, within, ALLOWED, seed, wrong=wrong)["sequence"] or within + 1) <= within
        for seed in range(size.runs)
    )
    log.info("found %.2g %% within %d (noise: %s): %.4f", 100 * wrong, within, noise, found / size.runs)
    assert found / size.runs >= 0.95 - (0.06 if size.runs < 1000 else 0.0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("values", [2, 5, 1_000_000])
def test_constant_under_a_path_that_always_differs_is_found(size: Size, values: int) -> None:
    """95 % of runs detect a constant v2 value within 2,000 triples, however often v1's values repeat."""
    there = place(0)
    one = NoisePlace(**there._asdict(), triples=1000, learned=Cells(both=1000))
    filler = [NoisePlace(**place(p)._asdict(), triples=1000, learned=Cells(both=9)) for p in range(1, 12)]
    known = NoiseSet(
        version=1, source=Source.CONTROL, frozen_ms=0, triples=1000, checked=500, missed=0, places=(one, *filler)
    )
    taken: list[int] = []
    for seed in range(size.runs // 2):
        dice, alone = random.Random(seed), 0
        for block in range(1, 1001):
            alone += dice.randrange(values) != dice.randrange(values)
            evidence = Evidence(
                target="simulated",
                routes=(RouteEvidence(route="GET /", results={}, triples=TripleCounts(all=2 * block)),),
                repeats={there: TripleCounts(all=block, cells=Cells(raw=alone, both=block - alone))},
            )
            if alone > 8 and judge_places(evidence, known, ALLOWED)[0].state == "constant":
                taken.append(2 * block)
                break
    log.info(
        "a constant where v1 has %d values: found in %d of %d, at most %d triples",
        values,
        len(taken),
        size.runs // 2,
        max(taken),
    )
    assert len(taken) >= 0.95 * (size.runs // 2)


@pytest.mark.parametrize("size", SIZES)
def test_two_sides_that_repeat_values_equally_are_not_constant(size: Size) -> None:
    """v1 and v2 draw from the same two values, and the product checks 1,000 blocks of pairs one by one."""
    there = place(0)
    one = NoisePlace(**there._asdict(), triples=1000, learned=Cells(both=1000))
    known = NoiseSet(version=1, source=Source.CONTROL, frozen_ms=0, triples=1000, checked=500, missed=0, places=(one,))
    wrong = 0
    for seed in range(size.runs // 4):
        dice, cells = random.Random(seed), [0, 0, 0]
        for block in range(1, 1001):
            ours, theirs = dice.random() < 0.5, dice.random() < 0.5
            if ours or theirs:
                cells[2 if ours and theirs else 0 if ours else 1] += 1
            if not ours or theirs or (cells[0] - cells[1]) ** 2 < 5 * (cells[0] + cells[1]):
                continue
            repeats = {there: TripleCounts(all=block, cells=Cells(*cells))}
            routes = (RouteEvidence(route="GET /", results={}, triples=TripleCounts(all=2 * block)),)
            evidence = Evidence(target="simulated", routes=routes, repeats=repeats)
            if judge_places(evidence, known, ALLOWED)[0].state != "noise":
                wrong += 1
                break
    log.info("repeats alike called a constant: %d of %d", wrong, size.runs // 4)
    assert wrong / (size.runs // 4) <= binomial_bound(size.runs // 4, 0.01)


@pytest.mark.parametrize("size", SIZES)
def test_a_small_route_that_is_wholly_broken_never_passes_with_a_control(size: Size) -> None:
    """A route with 0.05 % of the traffic never passes if v2 breaks it. The control receives 5 % of the traffic."""
    known = NoiseSet(version=1, source=Source.CONTROL, frozen_ms=0, triples=1000, checked=500, missed=0)
    passed = 0
    for seed in range(max(20, size.runs // 20)):
        passed += _passes_broken(known, random.Random(seed))
    assert 0 == passed


def _passes_broken(known: NoiseSet, dice: random.Random) -> bool:
    whole, broken = [0, 0], [0, 0]
    noise = Noise(state=NoiseState(rev=1, known=known), controlled=True)
    for n in range(1, 30_001):
        counted = broken if dice.random() < 0.0005 else whole
        counted[0] += 1
        counted[1] += dice.random() < 0.05
        if (n % 250 and counted is whole) or not broken[0]:
            continue
        routes = tuple(
            RouteEvidence(
                route=name,
                results={
                    "match": 0 if bad else pairs,
                    "ignored": 0,
                    "mismatch": pairs if bad else 0,
                    "incomparable": 0,
                },
                distinct=pairs if bad else 0,
                triples=TripleCounts(all=triples, cells=Cells(raw=triples if bad else 0)),
            )
            for name, bad, (pairs, triples) in (("GET /", False, whole), ("GET /broken", True, broken))
        )
        evidence = Evidence(target="simulated", routes=routes)
        if with_noise(find(evidence, ALLOWED, None), evidence, ALLOWED, noise, "1").decision is Decision.PASS:
            return True
    return False


def test_the_simulation_counts_as_the_product_does() -> None:
    """A run without noise or faults passes, and a run with only faults fails."""
    known = NoiseSet(version=1, source=Source.CONTROL, frozen_ms=0, triples=1000, checked=500, missed=0)
    assert Decision.PASS is Counts(known, n=5000, triples=5000).verdict(ALLOWED).decision
    bad = Counts(known, n=5000, mismatches=100, distinct=100, triples=5000, outside=[100, 0, 0])
    assert Decision.FAIL is bad.verdict(ALLOWED).decision
