"""The live table says what the API says, in its words."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from shadowdiff.demo.api import Latency, Ledger, PathCount, Route, Target, Verdict
from shadowdiff.demo.table import draw, progress
from shadowdiff.demo.traffic import Tally


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
    Console(file=out, width=140).print(draw(ledger, target, "so far"))
    return out.getvalue()


def test_routes_paths_ratio_and_coverage_are_shown() -> None:
    """What a newcomer looks for, on one screen."""
    route = Route(
        "GET /products/{id}",
        {"match": 5, "ignored": 1200, "mismatch": 95},
        [PathCount("$['price']['amount']", "value", 25)],
        {"primary": Latency(1.25, 9.0), "candidate": Latency(2.5, None)},
    )
    shown = _drawn(_ledger(balanced=True), Target([route], Verdict("fail", "too many differ", 0.073)))

    for words in ("so far", "FAIL", "mismatch 7.30%", "coverage 98.7%", "waiting 10", "books balanced"):
        assert words in shown
    for words in ("GET /products/{id}", "1,200", "7.3%", "1.2 / 9.0", "\nprice.amount ", "too many differ"):
        assert words in shown


def test_nothing_yet_is_said_in_words() -> None:
    """An empty target draws, and says so."""
    shown = _drawn(_ledger(balanced=False), Target([], Verdict("insufficient", "no pair was compared yet")))

    assert "nowhere so far" in shown
    assert "books NOT balanced" in shown


def test_progress_names_errors_only_where_there_are_some() -> None:
    """One line, with the whole where it is known."""
    tally = Tally(sent=1200, answered=1190)
    assert progress(tally, 5000) == "1,200 of 5,000 requests sent, 1,190 answered by v1, no errors seen by users"
    tally.failed("status 503")
    assert progress(tally, None) == "1,200 requests sent, 1,190 answered by v1, 1 error seen by users"
