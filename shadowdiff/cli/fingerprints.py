"""`shadowdiff fingerprints` lists differences grouped by route and path; `fingerprint` shows one group."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from shadowdiff.cli.remote import Remote, html_option, remote_options, target_option
from shadowdiff.cli.screen import console, list_table, text
from shadowdiff.display.wording import MISSING, SEVERITY_LABELS, age, percent, severity_label, short_path, utc
from shadowdiff.model import Kind, Severity
from shadowdiff.queries.fingerprints import MAX_PAGE, FingerprintDetail
from shadowdiff.report import Fingerprint, Order, Page, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from shadowdiff.queries.fingerprints import PlaceValues

SHOWN_PLACES: Final = 2
SHOWN_VALUES: Final = 5
STYLES: Final = {Severity.BREAKING: "bold red", Severity.VALUE: "yellow", Severity.ADDITIVE: "cyan"}
BARS: Final = "▁▂▃▄▅▆▇█"
_SEVERITIES: Final = {label: severity.value for severity, label in SEVERITY_LABELS.items()}


@click.command()
@target_option
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=20, show_default=True, help="Number of groups.")
@click.option(
    "--sort",
    type=click.Choice([one.value for one in Order]),
    default="last_seen",
    show_default=True,
    help="The order of the list.",
)
@click.option("--route", metavar="ROUTE", help="Show only this route, such as 'GET /products/{id}'.")
@click.option(
    "--path", metavar="PATH", help="Show only groups with a path at or below this one, or that contains this text."
)
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Show only this kind of difference.")
@click.option("--severity", type=click.Choice([*_SEVERITIES]), help="Show only groups of this severity.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Show only groups in this state.")
@click.option("--since", metavar="TIME", help="Show only groups last seen since this time, or within 30m, 6h, 7d.")
@remote_options
def command(remote: Remote, *, target: str | None, severity: str | None, **filters: str | int | None) -> None:
    """List a target's differences, grouped by route and path. `shadowdiff fingerprint ID` shows one group.

    \b
    Examples:
      shadowdiff fingerprints --sort count
      shadowdiff fingerprints --severity breaking --state open
      shadowdiff fingerprints --path price --since 6h
    """  # noqa: D301 - click needs the backspace character
    name = remote.target_of(target)
    response = remote.get("fingerprints", target=name, severity=severity and _SEVERITIES[severity], **filters)
    remote.show(response, Page, lambda page: _print_page(name, page))


@click.command()
@click.argument("fingerprint_id", metavar="ID")
@html_option
@remote_options
def fingerprint(remote: Remote, fingerprint_id: str, file: Path | None) -> None:
    """Show one group of differences, with its count, its first time, and the values in v1 and v2.

    \b
    Example:
      shadowdiff fingerprints
      shadowdiff fingerprint 3f2a9c0d1e2f
      shadowdiff fingerprint 3f2a9c0d1e2f --html to-share.html
    """  # noqa: D301 - click needs the backspace character
    if not remote.save_page("fingerprints", fingerprint_id, file):
        response = remote.get("fingerprints", fingerprint_id)
        remote.show(response, FingerprintDetail, lambda found: console().print(_detail(found)))


def _print_page(target: str, page: Page) -> None:
    out = console()
    if not page.fingerprints and page.stored:
        out.print(text(f"No differences of {target} match; there are {page.stored:,} groups in all."))
        return
    if not page.fingerprints:
        out.print(text(f"{target} has no differences yet. `shadowdiff targets` shows how many pairs were compared."))
        return
    names = ("id", "difference", "count", "share", "last day", "last seen", "state")
    table = list_table(*names, right=("count", "share"), ratios={"difference": 3})
    now_ms = int(time.time() * 1000)
    for one in page.fingerprints:
        table.add_row(
            text(one.id, "cyan"),
            _where(one),
            f"{one.count:,}",
            percent(one.share),
            trend_bars(one.trend.counts),
            age(one.last_seen_ms, now_ms),
            _state(one),
        )
    out.print(table)
    if page.more:
        out.print(text("There are more: raise --limit, or filter by --route, --path, --kind, --severity.", "dim"))
    if page.other:
        hidden = f"{page.other:,} mismatches are in groups that are not stored: raise limits.fingerprints to see them."
        out.print(text(hidden, "dim"))


def _where(one: Fingerprint) -> Text:
    line = text(one.route, "dim")
    for place in one.places[:SHOWN_PLACES]:
        line.append_text(Text.assemble("  ", text(short_path(place.path), STYLES[one.severity]), " "))
        line.append_text(text(place.kind, "dim"))
    more = len(one.places) - SHOWN_PLACES + one.more_places
    return line.append(f"  + {more:,} more", "dim") if more > 0 else line


def _state(one: Fingerprint) -> Text:
    return text(one.state.value + (" again" if one.reopened_ms else ""), "bold" if one.reopened_ms else "")


def trend_bars(counts: Sequence[int]) -> str:
    """Return counts as a row of bar characters; a zero becomes a space."""
    most = max(counts, default=0)
    return "".join(BARS[(count * (len(BARS) - 1) + most - 1) // most] if count else " " for count in counts)


def _detail(detail: FingerprintDetail) -> RenderableType:
    one = detail.fingerprint
    head = Text.assemble(
        text(one.route, "bold"), "  ", text(severity_label(one.severity), STYLES[one.severity]), "  ", _state(one)
    )
    count = f"{one.count:,} mismatches" if one.count != 1 else "1 mismatch"
    share = "" if one.share is None else f", {percent(one.share)} of compared pairs"
    lines = [
        head,
        text(f"{count}{share}; first {utc(one.first_seen_ms)}, last {utc(one.last_seen_ms)}", "dim"),
        text(f"last day  {trend_bars(one.trend.counts)}", "dim"),
    ]
    if one.stated:
        lines.append(text(f"{one.stated.state.value} by {one.stated.author}, {utc(one.stated.at_ms)}", "dim"))
    if one.note:
        lines.append(text(f"“{one.note.text}” – {one.note.author}, {utc(one.note.at_ms)}"))
    if one.more_places:
        lines.append(text(f"+ {one.more_places:,} more fields", "dim"))
    example = one.example
    last = [text(f"shadowdiff sample {example}", "cyan")] if example else [text("All samples expired.", "dim")]
    return Group(*lines, *(values_table(place) for place in detail.places), *last)


def values_table(found: PlaceValues) -> RenderableType:
    """Return the values of v1 and v2 at one place."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    for one in found.values[:SHOWN_VALUES]:
        table.add_row(
            text(MISSING if one.primary is None else one.primary, "blue"),
            "→",
            text(MISSING if one.candidate is None else one.candidate, "yellow"),
            f"{one.samples} ×",
        )
    head = Text.assemble(text(short_path(found.place.path), "bold"), " ", text(found.place.kind, "dim"))
    more = len(found.values) - SHOWN_VALUES + found.more
    return Group(head, table, *([text(f"  + {more:,} more pairs of values", "dim")] if more > 0 else []))
