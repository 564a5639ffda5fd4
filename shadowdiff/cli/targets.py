"""`shadowdiff targets`: every target with its verdict, routes and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from shadowdiff.cli.remote import ask, json_option, read, url_option
from shadowdiff.cli.screen import VERDICT_STYLES, console, text
from shadowdiff.web.api import Targets
from shadowdiff.web.views import TargetReport, TargetSummary
from shadowdiff.web.words import milliseconds, percent, short_path

if TYPE_CHECKING:
    from shadowdiff.verdict import RouteCounts

SHOWN_PATHS = 3


@click.command()
@click.argument("name", required=False)
@url_option
@json_option
def command(name: str | None, url: str, *, as_json: bool) -> None:
    """Show the targets and their verdicts; with NAME, one target's routes.

    \b
    Examples:
      shadowdiff targets
      shadowdiff targets recommendation
      shadowdiff targets --json | jq '.targets[].verdict.verdict'
    """  # noqa: D301 - click wants the backspace itself
    answer = ask(url, "targets", name) if name else ask(url, "targets")
    if as_json:
        click.echo(answer)
    elif name:
        _show_report(read(answer, TargetReport, url))
    else:
        _show_list(read(answer, Targets, url).targets)


def _show_list(targets: list[TargetSummary]) -> None:
    if not targets:
        console().print("No target is configured yet: name one under `targets:` in shadowdiff.yaml.")
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("target", "verdict", "differ", "compared", "coverage", "why"):
        table.add_column(column, justify="right" if column in {"differ", "compared", "coverage"} else "left")
    for target in targets:
        verdict = target.verdict
        coverage = verdict.coverage.ratio if verdict.coverage and verdict.coverage.eligible else None
        table.add_row(
            text(target.name, "bold"),
            Text(verdict.verdict, VERDICT_STYLES[verdict.verdict]),
            percent(verdict.mismatch_ratio),
            f"{verdict.pairs['compared']:,}",
            percent(coverage),
            text(verdict.reason),
        )
    console().print(table)


def _show_report(report: TargetReport) -> None:
    out, verdict = console(), report.verdict
    out.print(Text.assemble(text(report.name, "bold"), "  ", (verdict.verdict, VERDICT_STYLES[verdict.verdict])))
    out.print(text(verdict.reason))
    if not report.routes:
        out.print(text("Nothing has been compared yet; the web page says what is missing.", "dim"))
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("route", "compared", "differ", "where they differ", "v1 p50/p99", "v2 p50/p99"):
        table.add_column(column, justify="left" if column in {"route", "where they differ"} else "right")
    for route in report.routes:
        _add_route(table, route)
    out.print(table)


def _add_route(table: Table, route: RouteCounts) -> None:
    differ = route.results["mismatch"]
    lines = [
        Text.assemble(text(short_path(path.path), "bold"), (f" {path.kind} {path.count:,}", "dim"))
        for path in route.paths[:SHOWN_PATHS]
    ]
    if len(route.paths) > SHOWN_PATHS:
        lines.append(Text(f"and {len(route.paths) - SHOWN_PATHS} more", "dim"))
    table.add_row(
        text(route.route),
        f"{route.compared:,}",
        Text(f"{differ:,} ({percent(route.mismatch_ratio)})" if differ else "0", "red" if differ else "dim"),
        Text("\n").join(lines) if lines else Text("nowhere", "dim"),
        _latency(route, "primary"),
        _latency(route, "candidate"),
    )


def _latency(route: RouteCounts, side: str) -> str:
    spread = route.latency.get(side)
    return f"{milliseconds(spread.p50_ms)} / {milliseconds(spread.p99_ms)}" if spread else "–"
