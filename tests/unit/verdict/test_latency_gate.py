"""The gate on latency: off by default; sure before it says anything."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from shadowdiff.model import Gate, Result
from shadowdiff.verdict import Coverage, Decision, Lack, Thresholds, Verdict, judge
from shadowdiff.verdict.epoch import Epoch, OpenedBy
from shadowdiff.verdict.epoch_view import EpochView, Watched
from shadowdiff.verdict.evidence import Evidence, RouteEvidence, read_evidence
from shadowdiff.verdict.histogram import bucket_of
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, pair

PAIRS = 5_000
COVERED = Coverage(eligible=PAIRS, compared=PAIRS, ratio=1.0)


def _drawn(mean_ms: float, seed: int, n: int = PAIRS) -> dict[int, int]:
    dice = random.Random(seed)
    return dict(Counter(bucket_of(dice.uniform(mean_ms / 2, mean_ms * 1.5)) for _ in range(n)))


def _judged(v1_ms: float, v2_ms: float, limit_s: float | None, *, mismatches: int = 0, n: int = PAIRS) -> Verdict:
    results = {"match": n - mismatches, "ignored": 0, "mismatch": mismatches, "incomparable": 0}
    evidence = Evidence(
        target="shop",
        routes=(RouteEvidence(route="GET /", results=results),),
        durations={"GET /": {"primary": _drawn(v1_ms, 1, n), "candidate": _drawn(v2_ms, 2, n)}},
    )
    return judge(evidence, COVERED, Thresholds.of(Gate(max_p99_increase_s=limit_s)))


def test_latency_decides_nothing_unless_it_is_asked_to() -> None:
    """Ten times as slow, and a pass."""
    assert Decision.PASS is _judged(20, 200, None).verdict


@pytest.mark.parametrize(
    ("expected", "v2_ms", "limit_s"),
    [
        (Decision.PASS, 20, 0.05),
        (Decision.PASS, 40, 0.05),
        (Decision.FAIL, 200, 0.05),
        (Decision.INSUFFICIENT, 55, 0.05),
    ],
)
def test_an_increase_that_is_sure_fails_and_one_that_is_surely_within_passes(
    expected: Decision, v2_ms: float, limit_s: float
) -> None:
    """What the interval leaves open is insufficient for lack of certainty about latency."""
    verdict = _judged(20, v2_ms, limit_s)
    assert (expected, Lack.LATENCY if expected is Decision.INSUFFICIENT else None) == (verdict.verdict, verdict.lack)


def test_the_reason_names_both_sides_and_the_limit() -> None:
    """So that nobody has to look it up."""
    reason = _judged(20, 200, 0.05).reason
    assert reason.startswith("p99 of the target is ")
    assert reason.endswith("50 ms are allowed")


def test_a_failure_by_mismatches_stays_as_it_is() -> None:
    """The worse news first."""
    assert "500 of 5,000 pairs differ" in _judged(20, 200, 0.05, mismatches=500).reason


def test_too_few_pairs_are_said_as_such_first() -> None:
    """Latency does not hide what else is missing."""
    assert Lack.PAIRS is _judged(20, 20, 0.05, n=50).lack


def test_without_durations_nothing_passes() -> None:
    """A recorder that measures nothing cannot satisfy a gate on latency."""
    results = {"match": PAIRS, "ignored": 0, "mismatch": 0, "incomparable": 0}
    evidence = Evidence(target="shop", routes=(RouteEvidence(route="GET /", results=results),))
    verdict = judge(evidence, COVERED, Thresholds.of(Gate(max_p99_increase_s=0.05)))
    assert (Decision.INSUFFICIENT, Lack.LATENCY) == (verdict.verdict, verdict.lack)


@pytest.mark.parametrize("gated", [False, True])
async def test_durations_count_in_the_epoch_only_where_a_gate_asks_for_them(gated: bool) -> None:
    """So that nobody else pays for it."""
    view = EpochView(Watched(target="shop", revision_header=b"x-version", rules="r", latency=gated), lambda: None)
    epoch = Epoch(id=1, started_ms=0, by=OpenedBy.START, rules="r")
    view.take(epoch)
    store = MemoryStore()
    for number in range(3):
        store.commit(view.writes(pair(number=number), MATCH))
    found = await read_evidence(store, "shop", epoch)
    counted = {side: sum(spread.values()) for sides in found.durations.values() for side, spread in sides.items()}
    assert ({"primary": 3, "candidate": 3} if gated else {}) == counted
    assert 3 == found.results[Result.MATCH]
