"""The demo's output on a terminal: the live table, and the result after the demo ends or is stopped.

The output shows only data from the API. If the service does not respond, the output states this immediately.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from shadowdiff.demo.audit import ProxyDrops
from shadowdiff.demo.process import DemoError
from shadowdiff.display.wording import percent, place_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rich.console import Console, RenderableType

    from shadowdiff.demo.api import Ledger, Route, Target, Verdict
    from shadowdiff.demo.audit import Result
    from shadowdiff.demo.environment import Environment
    from shadowdiff.demo.traffic import UserCounts

LIVE_PATHS = 6
RESULT_PATHS = 3
RESULT_WITHIN_S = 5.0
VERDICT_COLORS = {"pass": "green", "fail": "red", "insufficient": "yellow"}
NEXT_STEPS = "next: docs/quickstart.md (use your own v1 and v2), docs/verdict.md (how shadowdiff decides)"


def progress(counts: UserCounts, total: int | None) -> str:
    """Return one line about the traffic."""
    of = f" of {total:,}" if total else ""
    errors = f"{counts.errors:,} error{'s' * (counts.errors != 1)}" if counts.errors else "no errors"
    return f"{counts.sent:,}{of} requests sent, {counts.answered:,} answered by v1, {errors} seen by users"


def accounted(*, balanced: bool) -> str:
    """Return a text that states whether the ledger balances."""
    return "all requests accounted for" if balanced else "NOT all requests accounted for"


def live_table(ledger: Ledger, target: Target, line: str) -> RenderableType:
    """Return a table of the verdict, the routes and the most frequent differences."""
    return Group(Text(line, style="dim"), _headline(ledger, target.verdict), _routes(target), _paths(target))


def _headline(ledger: Ledger, verdict: Verdict) -> Text:
    return Text.assemble(
        (verdict.verdict.upper(), f"bold {VERDICT_COLORS.get(verdict.verdict, 'default')}"),
        f"   differ {percent(verdict.mismatch_ratio)}   coverage {percent(ledger.coverage['ratio'])}   ",
        f"waiting {ledger.unsettled}   ",
        (accounted(balanced=ledger.balanced), "green" if ledger.balanced else "bold red"),
        (f"\n{verdict.reason}", "italic"),
    )


def _routes(target: Target) -> Table:
    titles = ("pairs", "match", "ignored", "differ", "%", "v1 p50/p99 ms", "v2 p50/p99 ms")
    columns = [Column("route", no_wrap=True), *(Column(title, justify="right") for title in titles)]
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for route in target.routes:
        pairs = sum(route.results.values())
        match, ignored, differing = (route.results.get(name, 0) for name in ("match", "ignored", "mismatch"))
        differ = Text(f"{differing:,}", style="red" if differing else "")
        ratio = percent(differing / pairs if pairs else None)
        latencies = (_latency(route, side) for side in ("primary", "candidate"))
        table.add_row(route.route, f"{pairs:,}", f"{match:,}", f"{ignored:,}", differ, ratio, *latencies)
    return table


def _latency(route: Route, side: str) -> str:
    p50_ms, p99_ms = (route.latency.get(side, {}).get(name) for name in ("p50_ms", "p99_ms"))
    return "–" if p50_ms is None or p99_ms is None else f"{p50_ms:.1f} / {p99_ms:.1f}"


def _frequent_paths(target: Target, limit: int) -> list[tuple[int, str, str, str]]:
    found = [(path.count, path.path, path.kind, route.route) for route in target.routes for path in route.paths]
    return sorted(found, reverse=True)[:limit]


def _paths(target: Target) -> Table:
    difference, route = Column("difference", no_wrap=True), Column("route", no_wrap=True)
    table = Table(difference, Column("pairs", justify="right"), route, box=None, pad_edge=False, header_style="bold")
    for count, path, kind, name in _frequent_paths(target, LIVE_PATHS):
        table.add_row(Text(place_text(path, kind), style="red"), f"{count:,}", name)
    if not table.rows:
        table.add_row(Text("no differences so far", style="dim"), "", "")
    return table


@asynccontextmanager
async def print_result_on_stop(environment: Environment, counts: UserCounts, console: Console) -> AsyncGenerator[None]:
    """Print the current verdict if the block is cancelled while all parts run."""
    try:
        yield
    except asyncio.CancelledError:
        if all(child.alive for child in environment.children):  # if a part has failed, the demo prints an error instead
            await _print_result(environment, counts, console)
        raise


async def _print_result(environment: Environment, counts: UserCounts, console: Console) -> None:
    try:
        async with asyncio.timeout(RESULT_WITHIN_S):
            ledger, target = await environment.api.ledger(), await environment.api.target()
    except (DemoError, TimeoutError) as problem:
        console.print(Text(f"stopped; the service does not respond: {problem}"), soft_wrap=True)
        return
    console.print(Text(f"stopped: {progress(counts, None)}"), soft_wrap=True)
    verdict = target.verdict.verdict
    for line in result_lines(ledger, target):
        style = VERDICT_COLORS.get(verdict, "") if line.startswith(verdict.upper()) else ""
        console.print(Text(line, style=style), soft_wrap=True)


def result_lines(ledger: Ledger, target: Target) -> list[str]:
    """Return the verdict with its reason, the figures, the most frequent differences, and links to more."""
    compared = sum(count for name, count in ledger.pairs.items() if name not in {"ready", "pending"})
    if not compared:
        return ["nothing compared yet", NEXT_STEPS]
    verdict, differing = target.verdict, ledger.pairs["mismatch"]
    paths = [
        f"  {count:,} pairs of {route}: {place_text(path, kind)}"
        for count, path, kind, route in _frequent_paths(target, RESULT_PATHS)
    ]
    differ = "" if " pairs differ" in verdict.reason else f"{differing:,} of {compared:,} pairs differ, "
    figures = f"{differ}coverage {percent(ledger.coverage['ratio'])}, {accounted(balanced=ledger.balanced)}"
    figures += "; most frequent:" if paths else ""
    return [f"{verdict.verdict.upper()}: {verdict.reason}", figures, *paths, NEXT_STEPS]


def problems_of(result: Result) -> list[str]:
    """Return one line for each problem."""
    audit = result.audit
    found = [] if result.outcome.ledger["balanced"] else ["the ledger does not balance"]
    found += [str(one) for one in audit.faults if not one.complete]
    if audit.false_mismatches:
        found.append(f"{audit.false_mismatches} pairs differ, although their v2 response has no planted fault")
    return found + [f"{one.what}: expected {one.expected}, counted {one.actual}" for one in audit.disagreements]


def summary(result: Result) -> list[str]:
    """Return the outcome as text."""
    outcome, latencies = result.outcome, sorted(result.counts.latencies_ms)
    ledger, noise = outcome.ledger, outcome.noise
    lines = [
        f"{outcome.requests:,} requests, {outcome.primary_errors:,} errors seen by users",
        f"users waited {_quantile(latencies, 0.5):.1f} ms (p50), {_quantile(latencies, 0.99):.1f} ms (p99)",
        f"coverage {percent(ledger['coverage']['ratio'])}, {accounted(balanced=ledger['balanced'])}",
        *map(str, outcome.found),
    ]
    if result.drops != ProxyDrops():
        dropped = f"{result.drops.copies} copies and {result.drops.records} records"
        lines.append(f"Envoy dropped {dropped}, because this machine is too slow for this rate")
    if noise is not None:
        lines += [f"noise, learned from {noise.learned_from:,} triples: {noise.excluded:,} pairs do not count"]
        lines += [f"  {route}: {place_text(path, kind)}" for route, path, kind in noise.places]
    return [*lines, f"false mismatches: {outcome.false_mismatches}"]


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
