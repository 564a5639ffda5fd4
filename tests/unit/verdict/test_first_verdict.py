"""The verdict by the plain ratio: what passes, what fails, what cannot be said."""

from __future__ import annotations

import json

import msgspec
import pytest

from shadowdiff.model import Gate
from shadowdiff.verdict import Coverage, Decision, RouteCounts, TargetCounts, Thresholds, Verdict, judge, unknown_target
from shadowdiff.verdict.counts import PathCount

GATE = Gate(max_mismatch_ratio=0.001, min_coverage=0.95)
DESIGNED = (
    "verdict", "reason", "target", "window", "pairs", "mismatch_ratio", "interval", "coverage", "epoch",
    "pairs_needed", "routes_untested", "thresholds", "top", "report_url",
)  # fmt: skip


def _judged(match: int, mismatch: int = 0, covered: float = 1.0, *, incomparable: int = 0) -> Verdict:
    results = {"match": match, "ignored": 0, "mismatch": mismatch, "incomparable": incomparable}
    eligible = match + mismatch + incomparable
    coverage = Coverage(eligible=eligible, compared=int(eligible * covered), ratio=covered)
    return judge(TargetCounts(target="shop", results=results), coverage, Thresholds.of(GATE))


@pytest.mark.parametrize(
    ("expected", "match", "mismatch", "covered"),
    [
        (Decision.INSUFFICIENT, 0, 0, 0.0),
        (Decision.INSUFFICIENT, 99, 0, 1.0),
        (Decision.INSUFFICIENT, 50, 49, 1.0),
        (Decision.INSUFFICIENT, 999, 0, 1.0),
        (Decision.PASS, 1000, 0, 1.0),
        (Decision.PASS, 999, 1, 1.0),
        (Decision.FAIL, 998, 2, 1.0),
        (Decision.FAIL, 99, 1, 1.0),
        (Decision.FAIL, 0, 100, 0.1),
        (Decision.PASS, 2000, 0, 0.95),
        (Decision.INSUFFICIENT, 2000, 0, 0.949),
    ],
)
def test_ratio_number_and_coverage_decide(expected: Decision, match: int, mismatch: int, covered: float) -> None:
    """The limits themselves pass; too few pairs say nothing; too little coverage cannot pass."""
    assert expected is _judged(match, mismatch, covered).verdict


def test_incomparable_pairs_never_make_a_pass() -> None:
    """A thousand pairs that could not be compared are no evidence."""
    assert Decision.INSUFFICIENT is _judged(0, incomparable=1000).verdict


def test_the_reason_states_numbers_and_limit() -> None:
    """A reader learns what was counted and what is allowed."""
    assert "2 of 1,000 pairs differ (0.2%), 0.1% is allowed" == _judged(998, 2).reason


def test_a_pass_is_said_to_need_as_many_pairs_as_one_mismatch_takes_to_fit() -> None:
    """At 0.1 % the thousandth pair is the first that can bear a mismatch."""
    assert 750 == _judged(250).pairs_needed


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((0.0001, 0.99), (0.0001, 0.99)), ((0.5, 0.1), (0.001, 0.95)), ((None, None), (0.001, 0.95))],
)
def test_callers_make_thresholds_stricter_never_looser(
    asked: tuple[float | None, float | None], expected: tuple[float, float]
) -> None:
    """What is asked for counts only where it asks for more."""
    thresholds = Thresholds.of(GATE, max_mismatch_ratio=asked[0], min_coverage=asked[1])
    assert expected == (thresholds.max_mismatch_ratio, thresholds.min_coverage)


def test_the_verdict_has_the_names_that_others_depend_on() -> None:
    """Each name of the contract is there, and what no statistic fills yet is null."""
    shown = json.loads(msgspec.json.encode(_judged(1000)))
    assert DESIGNED == tuple(shown)
    assert [None, None, None] == [shown["interval"], shown["epoch"], shown["routes_untested"]]


def test_the_top_paths_are_the_most_frequent_of_all_routes() -> None:
    """Ten at most, most first."""
    paths = tuple(PathCount(path=f"$['{n}']", kind="value", count=n) for n in range(1, 16))
    results = {"match": 0, "ignored": 0, "mismatch": 15, "incomparable": 0}
    counts = TargetCounts(
        target="shop", results=results, routes=(RouteCounts(route="GET /", results=results, paths=paths),)
    )
    top = judge(counts, Coverage(eligible=15, compared=15, ratio=1.0), Thresholds.of(GATE)).top
    assert [15, 14, 13, 12, 11, 10, 9, 8, 7, 6] == [path.count for path in top]


def test_an_unknown_target_is_insufficient_and_names_the_known() -> None:
    """A rollout controller that asks for the wrong name learns the right ones."""
    verdict = unknown_target("shpo", ["shop"])
    assert (Decision.INSUFFICIENT, "unknown target 'shpo'; configured: shop") == (verdict.verdict, verdict.reason)
