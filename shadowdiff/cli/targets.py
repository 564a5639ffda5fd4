"""`shadowdiff targets`: show every target with its verdict, or one target's routes and differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text

from shadowdiff.cli.remote import Remote, remote_options
from shadowdiff.cli.screen import VERDICT_STYLES, console, list_table, text
from shadowdiff.display.wording import milliseconds, percent, place_text
from shadowdiff.queries.route_templates import routes_yaml
from shadowdiff.queries.targets import TargetReport, Targets, TargetSummary

if TYPE_CHECKING:
    from shadowdiff.verdict import RouteCounts

SHOWN_PATHS = 3


@click.command()
@click.argument("name", required=False)
@click.option("--routes", is_flag=True, help="Print templates of the target's routes for the configuration.")
@remote_options
def command(remote: Remote, name: str | None, *, routes: bool) -> None:
    """Show the targets and their verdicts; with NAME, one target's routes.

    \b
    Examples:
      shadowdiff targets
      shadowdiff targets recommendation
      shadowdiff targets recommendation --routes
      shadowdiff targets --json | jq '.targets[].verdict.verdict'
    """  # noqa: D301 - click needs the backspace character
    if routes and not name:
        raise click.UsageError("--routes needs the NAME of a target")
    if name:
        remote.show(remote.get("targets", name), TargetReport, _print_routes if routes else _print_report)
    else:
        remote.show(remote.get("targets"), Targets, lambda found: _print_list(found.targets))


def _print_routes(report: TargetReport) -> None:
    if report.proposed_routes:
        click.echo(routes_yaml(report.proposed_routes))
    else:
        console().print(text("No route has an inferred placeholder.", "dim"))


def _print_list(targets: list[TargetSummary]) -> None:
    if not targets:
        console().print("No target is configured yet: add one under `targets:` in shadowdiff.yaml.")
        return
    numbers = ("differ", "compared", "coverage")
    table = list_table("target", "verdict", *numbers, "why", right=numbers)
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


def _print_report(report: TargetReport) -> None:
    out, verdict = console(), report.verdict
    out.print(Text.assemble(text(report.name, "bold"), "  ", (verdict.verdict, VERDICT_STYLES[verdict.verdict])))
    out.print(text(verdict.reason))
    if not report.routes:
        out.print(text("Nothing has been compared yet. Run `shadowdiff doctor` to see why.", "dim"))
        return
    names = ("route", "compared", "differ", "differences", "v1 p50/p99", "v2 p50/p99")
    table = list_table(*names, right={*names} - {"route", "differences"})
    for route in report.routes:
        differ = route.results["mismatch"]
        lines = [
            Text.assemble(text(place_text(path.path, path.kind)), (f" ({path.count:,})", "dim"))
            for path in route.paths[:SHOWN_PATHS]
        ]
        if len(route.paths) > SHOWN_PATHS:
            lines.append(Text(f"+ {len(route.paths) - SHOWN_PATHS} more", "dim"))
        table.add_row(
            text(route.route),
            f"{route.compared:,}",
            Text(f"{differ:,} ({percent(route.mismatch_ratio)})" if differ else "0", "red" if differ else "dim"),
            Text("\n").join(lines) if lines else Text("no differences", "dim"),
            _latency(route, "primary"),
            _latency(route, "candidate"),
        )
    out.print(table)


def _latency(route: RouteCounts, side: str) -> str:
    spread = route.latency.get(side)
    return f"{milliseconds(spread.p50_ms)} / {milliseconds(spread.p99_ms)}" if spread else "–"
