"""Coverage: the share of v1's requests since a run started that were compared."""

from __future__ import annotations

from typing import Any

from shadowdiff.verdict import Coverage, coverage_since
from shadowdiff.verdict.ledger_growth import flat, low_coverage


def _ledger(eligible: int, compared: int, unrecorded: int = 0, forwarded: int | None = None) -> dict[str, Any]:
    return {
        "target": "shop",
        "balanced": True,
        "mirrored": {"forwarded": eligible + unrecorded if forwarded is None else forwarded},
        "observations": {"candidate": {"orphaned": unrecorded}},
        "coverage": {"eligible": eligible + unrecorded, "compared": compared, "ratio": 0.5},
    }


def test_coverage_counts_from_the_start_of_the_run() -> None:
    """Requests before the run do not count."""
    assert Coverage(eligible=100, compared=99, ratio=0.99, mirrored=100) == coverage_since(
        _ledger(1100, 599), flat(_ledger(1000, 500))
    )


def test_unrecorded_responses_lower_the_coverage() -> None:
    """A recorder that is off half of the time halves the coverage."""
    assert 0.5 == coverage_since(_ledger(100, 100, 100)).ratio


def test_reason_names_the_recorder_if_nothing_is_recorded() -> None:
    """The reason tells readers that the recorder is off."""
    coverage = coverage_since(_ledger(0, 0, 3, forwarded=12))
    expected = "Coverage is 0 %: no response of v1 to 12 mirrored requests was recorded. Is the recorder on?"
    assert expected == low_coverage(coverage, 0.95)
    only_not_modified = coverage_since(_ledger(0, 0, forwarded=12))
    assert low_coverage(only_not_modified, 0.95, pairs=12) is None


def test_reason_counts_each_loss() -> None:
    """The reason has both kinds of lost responses, with their counts."""
    expected = (
        "Coverage is 75 %, minimum 95 %: 5 of v1's responses were not compared, 20 of v1's responses were not recorded."
    )
    assert expected == low_coverage(coverage_since(_ledger(80, 75, 20)), 0.95)


def test_coverage_at_the_minimum_is_enough() -> None:
    """Coverage at exactly the minimum is enough, and without traffic nothing is missing."""
    assert [None, None] == [low_coverage(coverage_since(_ledger(n, n * 95 // 100)), 0.95) for n in (100, 0)]


def test_shrinking_counts_are_not_negative() -> None:
    """A pair that is counted late never makes the coverage negative."""
    assert Coverage(eligible=0, compared=0, ratio=0.0) == coverage_since(_ledger(1, 1), flat(_ledger(5, 5)))
