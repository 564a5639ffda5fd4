"""What the demo shows while it runs: a table of the routes, where v2 differs, and how far the traffic is.

In: the ledger and the target's report.  Out: something rich can draw.
Holds: draws what the API says and adds nothing; the words are those of the pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shadowdiff.web.words import short_path

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shadowdiff.demo.api import Ledger, Route, Target, Verdict
    from shadowdiff.demo.traffic import Tally

TOP_PATHS = 6
PATHS_PER_ROUTE = 3
COLOURS = {"pass": "green", "fail": "red", "insufficient": "yellow"}


def progress(tally: Tally, count: int | None) -> str:
    """Return one line on the traffic."""
    of = f" of {count:,}" if count else ""
    errors = f"{tally.errors:,} error{'s' * (tally.errors != 1)}" if tally.errors else "no errors"
    return f"{tally.sent:,}{of} requests sent, {tally.answered:,} answered by v1, {errors} seen by users"


def draw(ledger: Ledger, target: Target, line: str) -> RenderableType:
    """Return the whole picture."""
    return Group(Text(line, style="dim"), _headline(ledger, target.verdict), _routes(target), _paths(target))


def _headline(ledger: Ledger, verdict: Verdict) -> Text:
    """Return the verdict, the ratio and the coverage."""
    ratio = "–" if verdict.mismatch_ratio is None else f"{verdict.mismatch_ratio:.2%}"
    books = ("balanced", "green") if ledger.balanced else ("NOT balanced", "bold red")
    return Text.assemble(
        (verdict.verdict.upper(), f"bold {COLOURS.get(verdict.verdict, 'default')}"),
        f"   mismatch {ratio}   coverage {ledger.coverage['ratio']:.1%}   ",
        f"waiting {ledger.unsettled}   books ",
        books,
        "\n",
        (verdict.reason, "italic"),
    )


def _routes(target: Target) -> Table:
    """Return one line for each route."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("pairs", "match", "ignored", "mismatch", "%", "v1 p50/p99 ms", "v2 p50/p99 ms"):
        if title == "pairs":
            table.add_column("route", no_wrap=True)
        table.add_column(title, justify="right")
    for route in target.routes:
        table.add_row(*_row(route))
    return table


def _row(route: Route) -> tuple[str | Text, ...]:
    results = route.results
    pairs, wrong = sum(results.values()), results.get("mismatch", 0)
    share = f"{wrong / pairs:.1%}" if pairs else "–"
    return (
        route.route,
        f"{pairs:,}",
        f"{results.get('match', 0):,}",
        f"{results.get('ignored', 0):,}",
        Text(f"{wrong:,}", style="red" if wrong else ""),
        share,
        _latency(route, "primary"),
        _latency(route, "candidate"),
    )


def _latency(route: Route, side: str) -> str:
    took = route.latency.get(side)
    if took is None or took.p50_ms is None or took.p99_ms is None:
        return "–"
    return f"{took.p50_ms:.1f} / {took.p99_ms:.1f}"


def _paths(target: Target) -> Table:
    """Return where v2 differs most."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("where v2 differs", no_wrap=True)
    table.add_column("how")
    table.add_column("pairs", justify="right")
    table.add_column("route", no_wrap=True)
    found = [(path.count, path.path, path.kind, route.route) for route in target.routes for path in route.paths]
    for count, path, kind, route in sorted(found, reverse=True)[:TOP_PATHS]:
        table.add_row(Text(short_path(path), style="red"), kind, f"{count:,}", route)
    if not found:
        table.add_row(Text("nowhere so far", style="dim"), "", "", "")
    return table
