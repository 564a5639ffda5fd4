"""How much of v1's traffic the numbers speak for, since an epoch opened."""

from __future__ import annotations

from typing import Any

from shadowdiff.verdict import Coverage, coverage_since
from shadowdiff.verdict.coverage import lack_of_coverage
from shadowdiff.verdict.epochs import flat


def _ledger(eligible: int, compared: int, unrecorded: int = 0, forwarded: int | None = None) -> dict[str, Any]:
    return {
        "target": "shop",
        "balanced": True,
        "mirrored": {"forwarded": eligible + unrecorded if forwarded is None else forwarded},
        "observations": {"candidate": {"orphaned": unrecorded}},
        "coverage": {"eligible": eligible + unrecorded, "compared": compared, "ratio": 0.5},
    }


def test_coverage_counts_from_the_moment_the_epoch_opened() -> None:
    """A bad hour before it is no part of it."""
    assert Coverage(eligible=100, compared=99, ratio=0.99, mirrored=100) == coverage_since(
        _ledger(1100, 599), flat(_ledger(1000, 500))
    )


def test_requests_whose_answer_was_never_recorded_lower_it() -> None:
    """A recorder that is off for half of the time halves the coverage."""
    assert 0.5 == coverage_since(_ledger(100, 100, 100)).ratio


def test_nothing_recorded_at_all_is_said_as_such() -> None:
    """The reader learns that it is the recorder."""
    coverage = coverage_since(_ledger(0, 0, 3, forwarded=12))
    expected = "coverage is 0%: none of v1's answers to 12 mirrored requests has been recorded"
    assert expected == lack_of_coverage(coverage, 0.95)


def test_what_is_missing_is_named() -> None:
    """Both ways of losing an answer, each with its number."""
    expected = "coverage is 75%, 95% is needed: 5 of v1's answers were not compared and 20 were not recorded"
    assert expected == lack_of_coverage(coverage_since(_ledger(80, 75, 20)), 0.95)


def test_enough_is_enough() -> None:
    """The limit itself is enough, and where nothing has happened yet nothing is missing."""
    assert [None, None] == [lack_of_coverage(coverage_since(_ledger(n, n * 95 // 100)), 0.95) for n in (100, 0)]


def test_figures_that_shrank_are_not_negative() -> None:
    """A pair that is judged twice in the ledger's order never makes the coverage less than none."""
    assert Coverage(eligible=0, compared=0, ratio=0.0) == coverage_since(_ledger(1, 1), flat(_ledger(5, 5)))
