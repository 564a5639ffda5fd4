"""The live table shows what the API returns."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from shadowdiff.demo.api import Ledger, PathCount, Route, Target, Verdict
from shadowdiff.demo.terminal import live_table, progress
from shadowdiff.demo.traffic import UserCounts


def _ledger(*, balanced: bool) -> Ledger:
    return Ledger(
        balanced=balanced,
        mirrored={"in_flight": 1},
        recorded={"in_flight": 0},
        observations={"primary": {"waiting": 2}, "candidate": {"waiting": 3}},
        pairs={"pending": 4},
        coverage={"ratio": 0.987},
    )


def _drawn(ledger: Ledger, target: Target) -> str:
    out = StringIO()
    Console(file=out, width=140).print(live_table(ledger, target, "so far"))
    return out.getvalue()


def test_routes_paths_ratio_and_coverage_are_shown() -> None:
    """One screen shows routes, paths, ratio and coverage."""
    route = Route(
        "GET /products/{id}",
        {"match": 5, "ignored": 1200, "mismatch": 95},
        [PathCount("$['price']['amount']", "value", 25)],
        {"primary": {"p50_ms": 1.25, "p99_ms": 9.0}, "candidate": {"p50_ms": 2.5, "p99_ms": None}},
    )
    shown = _drawn(_ledger(balanced=True), Target([route], Verdict("fail", "too many differ", 0.073)))

    for words in (
        "so far",
        "FAIL",
        "differ 7.3\u202f%",
        "coverage 98.7\u202f%",
        "waiting 10",
        "all requests accounted",
    ):
        assert words in shown
    for words in ("GET /products/{id}", "1,200", "7.3\u202f%", "1.2 / 9.0", "\nprice.amount ", "too many differ"):
        assert words in shown


def test_an_empty_target_is_shown_in_words() -> None:
    """Without pairs the table shows that nothing differs so far."""
    shown = _drawn(_ledger(balanced=False), Target([], Verdict("insufficient", "No pairs compared yet.")))

    assert "no differences so far" in shown
    assert "NOT all requests accounted for" in shown


def test_progress_names_errors_only_if_there_are_some() -> None:
    """The progress line includes the total if it is known."""
    tally = UserCounts(sent=1200, answered=1190)
    assert progress(tally, 5000) == "1,200 of 5,000 requests sent, 1,190 answered by v1, no errors seen by users"
    tally.errors += 1
    assert progress(tally, None) == "1,200 requests sent, 1,190 answered by v1, 1 error seen by users"
