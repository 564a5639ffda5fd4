"""Test the summary of the demo: what was found, what Envoy dropped, and every problem."""

from __future__ import annotations

from typing import Any

from shadowdiff.demo.audit import Audit, CountCheck, FaultCount, ProxyDrops
from shadowdiff.demo.runner import Outcome, Result
from shadowdiff.demo.terminal import problems_of, summary
from shadowdiff.demo.traffic import UserCounts

FOUND = FaultCount("wrong price", 3, 2, 1)
MISSED = FaultCount("missing field", 3, 2, 0)


def _result(*, balanced: bool = True, false: int = 0, drops: ProxyDrops | None = None, missed: bool = False) -> Result:
    ledger: dict[str, Any] = {"balanced": balanced, "coverage": {"ratio": 0.995}}
    found = (FOUND, MISSED) if missed else (FOUND,)
    sums = (CountCheck("copies received", 5, 5), CountCheck("writes that reached v2", 0, int(missed)))
    tally = UserCounts(sent=1000, latencies_ms=[float(number) for number in range(100)])
    return Result(Outcome(1000, 0, ledger, found, false), Audit(found, false, sums), tally, drops or ProxyDrops())


def test_a_sound_outcome_has_no_problems() -> None:
    """The summary has only figures."""
    assert _result().sound
    assert problems_of(_result()) == []
    assert [
        "1,000 requests, 0 errors seen by users",
        "users waited 50.0 ms (p50), 99.0 ms (p99)",
        "coverage 99.5\u202f%, all requests accounted for",
        "wrong price: planted 3, seen 2, unpaired 1",
        "false mismatches: 0",
    ] == summary(_result())


def test_every_problem_is_printed() -> None:
    """Ledger, faults, false mismatches and counts each have one line."""
    result = _result(balanced=False, false=4, missed=True)

    assert not result.sound
    assert [
        "the ledger does not balance",
        "missing field: planted 3, seen 2, unpaired 0",
        "4 pairs differ, although their v2 response has no planted fault",
    ] == problems_of(result)[:3]
    assert problems_of(result)[3].startswith("writes that reached v2: expected 0, counted 1")


def test_drops_of_envoy_are_printed() -> None:
    """Dropped requests explain missing pairs, and are not a problem."""
    result = _result(drops=ProxyDrops(2, 7))

    assert "Envoy dropped 2 copies and 7 records, because this machine is too slow for this rate" in summary(result)
    assert problems_of(result) == []
