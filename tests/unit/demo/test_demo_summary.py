"""The outcome in words: what was found, what was lost on the way, and every complaint."""

from __future__ import annotations

from typing import Any

from shadowdiff.demo.audit import Audit, Finding, Lost, Sum
from shadowdiff.demo.show import Outcome, Verdict, complaints, summary
from shadowdiff.demo.traffic import Tally

FOUND = Finding("wrong price", 3, 2, 1)
MISSED = Finding("missing field", 3, 2, 0)


def _verdict(*, balanced: bool = True, false: int = 0, lost: Lost | None = None, missed: bool = False) -> Verdict:
    ledger: dict[str, Any] = {"balanced": balanced, "coverage": {"ratio": 0.995}}
    found = (FOUND, MISSED) if missed else (FOUND,)
    sums = (Sum("copies received", 5, 5), Sum("writes that reached v2", 0, int(missed)))
    tally = Tally(sent=1000, latencies_ms=[float(number) for number in range(100)])
    return Verdict(Outcome(1000, 0, ledger, found, false), Audit(found, false, sums), tally, lost or Lost())


def test_a_sound_outcome_has_no_complaints() -> None:
    """Figures, and nothing else."""
    assert _verdict().sound
    assert complaints(_verdict()) == []
    assert [
        "1,000 requests, 0 errors seen by users",
        "users waited 50.0 ms (p50), 99.0 ms (p99)",
        "coverage 99.50%, books balanced",
        "wrong price: planted 3, seen 2, unpaired 1",
        "false mismatches: 0",
    ] == summary(_verdict())


def test_everything_that_is_wrong_is_said() -> None:
    """One line each: books, faults, false mismatches, sums."""
    verdict = _verdict(balanced=False, false=4, missed=True)

    assert not verdict.sound
    assert [
        "the books do not balance",
        "missing field: planted 3, seen 2, unpaired 0",
        "4 pairs differ where v2 planted nothing",
    ] == complaints(verdict)[:3]
    assert complaints(verdict)[3].startswith("writes that reached v2: 0 by their own count, 1 ")


def test_what_envoy_turned_away_is_said() -> None:
    """It explains what was never paired, and is no complaint."""
    verdict = _verdict(lost=Lost(2, 7))

    assert "Envoy turned 2 copies and 7 records away at its own bounds: this machine could not follow" in summary(
        verdict
    )
    assert complaints(verdict) == []
