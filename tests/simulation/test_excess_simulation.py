"""Check the pass by the excess: noisy services pass in time, its error rate, its forecast, and what it must not hide.

The short form has fewer runs. `scripts/test tests/simulation --long --log-cli-level=INFO` runs the long form.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import pytest

from shadowdiff.verdict.decide import ALPHA, Decision, Finding, find
from shadowdiff.verdict.evidence import Evidence, RouteEvidence
from shadowdiff.verdict.excess import ALPHA_EXCESS
from shadowdiff.verdict.noise_gate import ALPHA_PAIRS, Noise, with_noise
from shadowdiff.verdict.noise_set import Cells, Learned, NoiseSet, NoiseState, Place, Source, extended
from shadowdiff.verdict.sequence import has_no_excess, triples_until_no_excess
from shadowdiff.verdict.triples import TripleCounts
from tests.simulation.equals import LEARN, ROUTE, place
from tests.simulation.releases import binomial_bound

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)


class Size(NamedTuple):
    """The number of runs in each simulation."""

    runs: int


SIZES = [
    pytest.param(Size(100), id="quick"),
    pytest.param(Size(2000), id="deep", marks=[pytest.mark.deep, pytest.mark.timeout(1500)]),
]
EMPTY = NoiseSet(version=1, source=Source.CONTROL, frozen_ms=0, triples=1000, checked=500, missed=0)


def _discordant(dice: random.Random, ours: float, theirs: float, n: int) -> Iterator[tuple[int, bool]]:
    """Yield each triple in which only v2 (True) or only the control differs, with its number."""
    at, both = 0, ours + theirs
    while both > 0:
        at += 1 + int(dice.expovariate(1.0) / both)
        if at > n:
            return
        yield at, dice.random() < ours / both


def _verdict(n: int, ours: Counter[Place], theirs: Counter[Place], allowed: float) -> Finding:
    """Return the verdict after n pairs, each with a control, if every difference is alone in its triple."""
    raw, noise = ours.total(), theirs.total()
    route = RouteEvidence(
        route=ROUTE,
        results={"match": n - raw, "ignored": 0, "mismatch": raw, "incomparable": 0},
        distinct=raw,
        triples=TripleCounts(all=n, cells=Cells(raw=raw, noise=noise)),
    )
    cells = {one: TripleCounts(cells=Cells(raw=ours[one], noise=theirs[one])) for one in ours | theirs}
    evidence = Evidence(target="simulated", routes=(route,), cells=cells)
    noise_state = Noise(state=NoiseState(rev=1, known=EMPTY), controlled=True)
    return with_noise(find(evidence, allowed, None, ALPHA_PAIRS), evidence, allowed, noise_state, "1")


def _passes_at(dice: random.Random, rate: float, allowed: float, most: int, step: int) -> int | None:
    """Return the number of triples after which equal versions first pass; their noise was not learned."""
    ours, theirs, at = Counter[Place](), Counter[Place](), step
    for number, is_ours in [*_discordant(dice, rate, rate, most), (most + step, True)]:
        while at < min(number, most + 1):
            if _verdict(at, ours, theirs, allowed).decision is Decision.PASS:
                return at
            at += step
        (ours if is_ours else theirs)[place(dice.randrange(40))] += 1
    return None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rate", [0.006, 0.02])
def test_equal_versions_of_a_noisy_service_pass_at_one_percent(size: Size, rate: float) -> None:
    """v1 differs from itself in 1.2 or 4 % of triples, and nothing was learned: 95 % pass within 10,000 triples."""
    found = [_passes_at(random.Random(seed), rate, 0.01, 10_000, 100) for seed in range(size.runs // 2)]
    passed = [at for at in found if at is not None]
    log.info("noise %.1f %%: %d of %d pass, median %s", 100 * rate, len(passed), len(found), median(passed or [0]))
    assert len(passed) >= 0.95 * len(found)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("rate", "allowed"), [(0.00585, 0.001), (0.002, 0.001), (0.02, 0.01)])
def test_the_forecast_is_close_to_the_simulated_need(size: Size, rate: float, allowed: float) -> None:
    """The forecast after a tenth of the median need is within 30 % of that need, in the median of the runs."""
    forecasts: list[int] = []
    need = median(_need(random.Random(seed), rate, allowed) for seed in range(size.runs // 2))
    for seed in range(size.runs // 2):
        dice, n = random.Random(-seed - 1), int(need / 10)
        sides = Counter(is_ours for _, is_ours in _discordant(dice, rate, rate, n))
        more = triples_until_no_excess(n, sides[True], sides[False], allowed, ALPHA_EXCESS)
        assert more is not None
        forecasts.append(n + more)
    log.info("noise %.2g %%, limit %.2g %%: need %d, forecast %d", 200 * rate, 100 * allowed, need, median(forecasts))
    assert 0.7 * need <= median(forecasts) <= 1.3 * need


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wrong", [0.0, 0.005])
def test_a_service_with_many_rare_noises_passes_or_fails_with_learning(size: Size, wrong: float) -> None:
    """60 places with 0.05 to 5 % of noise each: equal versions pass at 1 % within 10,000 triples, and never fail.

    Learning goes on in the runs. With 0.5 % of wrong responses and a limit of 0.1 %, v2 fails within 20,000 triples.
    """
    found: Counter[Decision] = Counter()
    for seed in range(size.runs // 10):
        dice = random.Random(seed)
        rates = [0.0005 * 100 ** dice.random() for _ in range(60)]
        allowed, most = (0.001, 20_000) if wrong else (0.01, 10_000)
        found[_with_learning(dice, rates, wrong, allowed, most)] += 1
    log.info("wrong %.1f %%: %s", 100 * wrong, found)
    assert found[Decision.FAIL if wrong else Decision.PASS] >= 0.9 * (size.runs // 10)
    assert not found[Decision.PASS if wrong else Decision.FAIL] > binomial_bound(size.runs // 10, ALPHA) * (
        size.runs // 10
    )


def _with_learning(dice: random.Random, rates: list[float], wrong: float, allowed: float, most: int) -> Decision:
    """Return the first decision of a service that learns the noise set, and adds to it as the product does."""
    places, known, run = [Place(ROUTE, f"$['{at}']", "value", "text") for at in range(len(rates) + 1)], None, _Run()
    events = sorted(
        (number, at, is_ours)
        for at, rate in enumerate(rates)
        for number, is_ours in _discordant(dice, rate / 2, rate / 2, most)
    )
    events += [(number, len(rates), True) for number, _ in _discordant(dice, wrong, 0.0, most)]
    events.sort()
    at_event = 0
    for number in range(1, most + 1):
        ours, theirs = set[Place](), set[Place]()
        while at_event < len(events) and events[at_event][0] == number:
            _, at, is_ours = events[at_event]
            (ours if is_ours else theirs).add(places[at])
            at_event += 1
        inside = {one.place for one in known.places} if known else set[Place]()
        run.count(ours, theirs, inside)
        if known is None:
            if run.n == LEARN:
                known = extended(EMPTY, run.learned(), version=1, now_ms=0, least_share=0.0, most=2_000) or EMPTY
                run = _Run()
        elif number % 500 == 0:
            decision = run.verdict(known, allowed)
            if decision is not Decision.INSUFFICIENT:
                return decision
            if run.n >= max(LEARN, known.triples) and (
                more := extended(known, run.learned(), version=2, now_ms=0, least_share=allowed / 4, most=2_000)
            ):
                known, run = more, _Run()
    return Decision.INSUFFICIENT


class _Run:
    """The triples of one run."""

    def __init__(self) -> None:
        self.n, self.mismatches, self.cells = 0, 0, [0, 0, 0]
        self.by_place: dict[Place, list[int]] = {}

    def count(self, ours: set[Place], theirs: set[Place], inside: set[Place]) -> None:
        """Count one triple."""
        self.n += 1
        for one in ours | theirs:
            cell = 2 if one in ours and one in theirs else 0 if one in ours else 1
            self.by_place.setdefault(one, [0, 0, 0])[cell] += 1
        outside, outside_control = bool(ours - inside), bool(theirs - inside)
        self.mismatches += outside
        if outside or outside_control:
            self.cells[2 if outside and outside_control else 0 if outside else 1] += 1

    def learned(self) -> Learned:
        """Return the counts as learning reads them."""
        return Learned(triples={ROUTE: self.n}, cells={one: Cells(*cells) for one, cells in self.by_place.items()})

    def verdict(self, known: NoiseSet, allowed: float) -> Decision:
        """Return the product's decision."""
        route = RouteEvidence(
            route=ROUTE,
            results={"match": self.n - self.mismatches, "ignored": 0, "mismatch": self.mismatches, "incomparable": 0},
            distinct=self.mismatches,
            triples=TripleCounts(all=self.n, cells=Cells(*self.cells)),
        )
        cells = {one: TripleCounts(cells=Cells(*counts)) for one, counts in self.by_place.items()}
        evidence = Evidence(target="simulated", routes=(route,), cells=cells)
        noise = Noise(state=NoiseState(rev=1, known=known), controlled=True)
        version = str(known.version)
        return with_noise(find(evidence, allowed, None, ALPHA_PAIRS), evidence, allowed, noise, version).decision


def _need(dice: random.Random, rate: float, allowed: float) -> int:
    sides, before, step = [0, 0], 0, max(1, int(0.2 / allowed))
    for number, is_ours in _discordant(dice, rate, rate, 10_000_000):
        for at in range(before + step, number, step):
            if has_no_excess(at, sides[0], sides[1], allowed, ALPHA_EXCESS):
                return at
        sides[not is_ours] += 1
        before = number
    raise AssertionError("never")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("noise", "allowed"), [(0.02, 0.01), (0.005, 0.001), (0.0, 0.01)])
def test_an_excess_just_above_the_limit_rarely_passes(size: Size, noise: float, allowed: float) -> None:
    """v2 differs 1.05 times the limit more often than v1 itself; at every triple, the pass could happen."""
    wrong, most = 0, int(30 / allowed)
    for seed in range(size.runs * 2):
        sides, before = [0, 0], 0
        for number, is_ours in _discordant(random.Random(seed), noise + 1.05 * allowed, noise, most):
            if has_no_excess(number - 1, sides[0], sides[1], allowed, ALPHA_EXCESS):  # the best moment: just before it
                wrong += number - 1 > before
                break
            sides[not is_ours] += 1
            before = number
    log.info("noise %.2g %%, limit %.2g %%: %d of %d pass", 100 * noise, 100 * allowed, wrong, size.runs * 2)
    assert wrong / (size.runs * 2) <= binomial_bound(size.runs * 2, ALPHA_EXCESS)


@pytest.mark.parametrize("size", SIZES)
def test_noise_of_v1_in_one_place_hides_no_fault_in_another(size: Size) -> None:
    """v2 is wrong in one place as often as v1 differs from itself in another. It never passes within 20,000 triples."""
    for seed in range(size.runs // 10):
        ours, theirs, at = Counter[Place](), Counter[Place](), 0
        for number, is_ours in _discordant(random.Random(seed), 0.03, 0.03, 20_000):
            if is_ours:
                ours[place(1)] += 1
            else:
                theirs[place(2)] += 1
            if number - at >= 250:
                at = number
                assert _verdict(number, ours, theirs, 0.01).decision is not Decision.PASS, (seed, number)


@pytest.mark.parametrize("size", SIZES)
def test_a_regression_in_a_noisy_service_never_passes_and_is_found(size: Size) -> None:
    """v1 differs from itself in 1 % of triples; 0.5 % of v2's responses are wrong, at a limit of 0.1 %."""
    found = 0
    for seed in range(size.runs // 5):
        dice, at = random.Random(seed), 0
        ours, theirs = Counter[Place](), Counter[Place]()
        for number, is_ours in _discordant(dice, 0.015, 0.01, 60_000):
            wrong = is_ours and dice.random() < 1 / 3
            (ours if is_ours else theirs)[place(39 if wrong else dice.randrange(39))] += 1
            if number - at >= 500:
                at = number
                decision = _verdict(number, ours, theirs, 0.001).decision
                assert decision is not Decision.PASS
                if decision is Decision.FAIL:
                    found += 1
                    break
    log.info("found %d of %d", found, size.runs // 5)
    assert found >= 0.95 * (size.runs // 5)


def test_both_ways_to_pass_share_the_error() -> None:
    """A bad release passes by the ratio or by the excess in at most 5 % of runs together."""
    assert pytest.approx(ALPHA) == ALPHA_EXCESS + ALPHA_PAIRS
