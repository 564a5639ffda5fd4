"""`shadowdiff causes` lists the causes of mismatches; `cause` shows one of them, with its values."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click
from rich.console import Group
from rich.text import Text

from shadowdiff.cli.fingerprints import STYLES, trend_bars, values_table
from shadowdiff.cli.remote import Remote, remote_options, target_option
from shadowdiff.cli.screen import console, list_table, text
from shadowdiff.display.wording import SEVERITY_LABELS, age, describe_common, percent, severity_label, short_path, utc
from shadowdiff.model import Kind
from shadowdiff.queries.cause_detail import CauseDetail
from shadowdiff.queries.causes import MAX_PAGE, Cause, CauseOrder, CausePage, RunScope
from shadowdiff.report import State

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_ROUTES: Final = 5
_SEVERITIES: Final = {label: severity.value for severity, label in SEVERITY_LABELS.items()}
_RUN = click.option(
    "--run",
    type=click.Choice([one.value for one in RunScope]),
    default=RunScope.CURRENT.value,
    show_default=True,
    help="Count the pairs of the current run, or of all stored runs.",
)


@click.command()
@target_option
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=20, show_default=True, help="Number of causes.")
@click.option(
    "--sort",
    type=click.Choice([one.value for one in CauseOrder]),
    default=CauseOrder.PAIRS.value,
    show_default=True,
    help="The order of the list.",
)
@click.option("--route", metavar="ROUTE", help="Show only this route, such as 'GET /products/{id}'.")
@click.option(
    "--path", metavar="PATH", help="Show only causes with a path at or below this one, or that contains this text."
)
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Show only this kind of difference.")
@click.option("--severity", type=click.Choice([*_SEVERITIES]), help="Show only causes of this severity.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Show only causes in this state.")
@click.option("--since", metavar="TIME", help="Show only causes last seen since this time, or within 30m, 6h, 7d.")
@click.option("--new", is_flag=True, help="Show only causes that are new since v2's current revision.")
@_RUN
@remote_options
def command(
    remote: Remote, *, target: str | None, severity: str | None, new: bool, **filters: str | int | None
) -> None:
    """List the causes of a target's mismatches: each change once, over all routes. `shadowdiff cause ID` shows one.

    \b
    Examples:
      shadowdiff causes
      shadowdiff causes --severity breaking --state open
      shadowdiff causes --new --sort alone
    """  # noqa: D301 - click needs the backspace character
    name = remote.target_of(target)
    chosen = {"severity": severity and _SEVERITIES[severity], "new": "yes" if new else None, "trend": "day"}
    response = remote.get("causes", target=name, **chosen, **filters)
    remote.show(response, CausePage, lambda page: _print_page(name, page))


@click.command()
@click.argument("cause_id", metavar="ID")
@_RUN
@remote_options
def cause(remote: Remote, cause_id: str, run: str) -> None:
    """Show one cause, with its routes, its first time, and the values in v1 and v2.

    \b
    Example:
      shadowdiff causes
      shadowdiff cause 3f2a9c0d1e2f
    """  # noqa: D301 - click needs the backspace character
    response = remote.get("causes", cause_id, run=run)
    remote.show(response, CauseDetail, lambda found: console().print(_detail(found)))


def explained_text(page: CausePage) -> str:
    """Return how many pairs differ, and how many of them the causes explain."""
    pairs = f"v2 differs in {page.mismatches:,} of {page.compared:,} pairs."
    causes = f"{page.stored:,} cause{'s explain' if page.stored != 1 else ' explains'}"
    if page.explained == page.mismatches:
        return f"{pairs} {causes} all of them."
    return f"{pairs} {causes} {'' if page.exact else 'at least '}{page.explained:,} of them wholly."


def _print_page(target: str, page: CausePage) -> None:
    out = console()
    if not page.stored:
        out.print(text(f"{target} has no causes in this run. `shadowdiff verdict` shows how many pairs were compared."))
        return
    out.print(text(explained_text(page)))
    if not page.causes:
        out.print(text("No causes match."))
        return
    names = ("id", "cause", "routes", "pairs", "alone", "last day", "last seen", "state")
    table = list_table(*names, right=("routes", "pairs", "alone"), ratios={"cause": 3})
    now_ms = int(time.time() * 1000)
    for one in page.causes:
        least = "" if one.exact else "≥ "
        table.add_row(
            text(one.id, "cyan"),
            text(one.sentence, "dim" if one.noise else STYLES[one.severity]),
            f"{len(one.routes) + one.more_routes:,}",
            f"{least}{one.pairs:,}",
            f"{least}{one.alone:,}",
            trend_bars(one.trend.counts) if one.trend else "",
            age(one.last_seen_ms, now_ms),
            _state(one),
        )
    out.print(table)
    if page.more:
        out.print(text("There are more: raise --limit, or filter by --route, --path, --kind, --severity.", "dim"))


def _state(one: Cause) -> Text:
    marks = [one.state.value + (" again" if one.reopened_ms else "")]
    marks += ["new"] if one.new else []
    marks += ["noise"] if one.noise else []
    return text(", ".join(marks), "bold" if one.reopened_ms or one.new else "")


def _detail(detail: CauseDetail) -> RenderableType:
    one = detail.cause
    least = "" if one.exact else "at least "
    share = "" if one.share is None else f", {percent(one.share)} of compared pairs"
    revision = f" with revision {one.revision}" if one.revision else ""
    severity = text(severity_label(one.severity), STYLES[one.severity])
    lines = [
        Text.assemble(text(one.sentence, "bold"), "  ", severity, "  ", _state(one)),
        text(f"{least}{one.pairs:,} pairs{share}; {least}{one.alone:,} differ only in this", "dim"),
        text(f"first seen {utc(one.first_seen_ms)}{revision}, last {utc(one.last_seen_ms)}", "dim"),
    ]
    if detail.quiet_pairs:
        lines.append(text(f"not seen in the last {detail.quiet_pairs:,} pairs of its routes", "dim"))
    if one.trend:
        lines.append(text(f"last day  {trend_bars(one.trend.counts)}", "dim"))
    if one.stated:
        lines.append(text(f"{one.stated.state.value} by {one.stated.author}, {utc(one.stated.at_ms)}", "dim"))
    if one.note:
        lines.append(text(f"“{one.note.text}” – {one.note.author}, {utc(one.note.at_ms)}"))
    routes = [f"{found.route} ({found.pairs:,})" for found in one.routes[:SHOWN_ROUTES]]
    more = len(one.routes) - SHOWN_ROUTES + one.more_routes
    lines.append(text(f"routes  {', '.join(routes)}{f' + {more:,} more' if more > 0 else ''}"))
    if detail.common.attributes:
        lines.append(text(f"in common  {', '.join(map(describe_common, detail.common.attributes))}"))
    if one.consequences:
        also = ", ".join(short_path(place.path) for place in one.consequences[:SHOWN_ROUTES])
        lines.append(text(f"because of the failure, also  {also}", "dim"))
    last = [text(f"shadowdiff sample {one.example}", "cyan")] if one.example else []
    return Group(*lines, *(values_table(place) for place in detail.values), *last)
