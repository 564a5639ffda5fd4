"""Test the gate on latency: it is off by default, and decides only with certainty."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from shadowdiff.model import Gate, Result
from shadowdiff.verdict import Coverage, Decision, InsufficientReason, Thresholds, Verdict, judge
from shadowdiff.verdict.evidence import Evidence, RouteEvidence, read_evidence
from shadowdiff.verdict.latency_buckets import bucket_of
from shadowdiff.verdict.run import Run, StartedBy
from shadowdiff.verdict.run_counter import RunCounter, RunInputs
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


def test_latency_does_not_decide_without_a_gate() -> None:
    """v2 is ten times as slow, and still passes."""
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
def test_certain_increase_fails_and_certain_limit_passes(expected: Decision, v2_ms: float, limit_s: float) -> None:
    """If the interval contains the limit, the verdict is insufficient because of latency."""
    verdict = _judged(20, v2_ms, limit_s)
    assert (expected, InsufficientReason.LATENCY if expected is Decision.INSUFFICIENT else None) == (
        verdict.verdict,
        verdict.insufficient_reason,
    )


def test_reason_names_both_sides_and_the_limit() -> None:
    """The reason has all numbers that readers need."""
    reason = _judged(20, 200, 0.05).reason
    assert reason.startswith("p99 of the target: ")
    assert reason.endswith("limit 50 ms.")


def test_failure_by_mismatches_is_unchanged() -> None:
    """Mismatches come before latency."""
    assert "500 of 5,000 pairs differ" in _judged(20, 200, 0.05, mismatches=500).reason


def test_too_few_pairs_come_before_latency() -> None:
    """Latency does not hide what else is missing."""
    assert InsufficientReason.PAIRS is _judged(20, 20, 0.05, n=50).insufficient_reason


def test_no_verdict_passes_without_durations() -> None:
    """A target without measured durations never satisfies a latency gate."""
    results = {"match": PAIRS, "ignored": 0, "mismatch": 0, "incomparable": 0}
    evidence = Evidence(target="shop", routes=(RouteEvidence(route="GET /", results=results),))
    verdict = judge(evidence, COVERED, Thresholds.of(Gate(max_p99_increase_s=0.05)))
    assert (Decision.INSUFFICIENT, InsufficientReason.LATENCY) == (verdict.verdict, verdict.insufficient_reason)


@pytest.mark.parametrize("gated", [False, True])
async def test_durations_count_in_a_run_only_if_a_gate_needs_them(gated: bool) -> None:
    """Targets without a latency gate store no durations in a run."""
    counter = RunCounter(RunInputs(target="shop", revision_header=b"x-version", rules="r", latency=gated), lambda: None)
    run = Run(id=1, started_ms=0, by=StartedBy.START, rules="r")
    counter.take_run(run)
    store = MemoryStore()
    for number in range(3):
        store.commit(counter.writes(pair(number=number), MATCH))
    found = await read_evidence(store, "shop", run)
    counted = {side: sum(spread.values()) for sides in found.durations.values() for side, spread in sides.items()}
    assert ({"primary": 3, "candidate": 3} if gated else {}) == counted
    assert 3 == found.results[Result.MATCH]
