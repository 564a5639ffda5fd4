"""`shadowdiff fingerprints`: mismatches grouped by where they differ, a line each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from shadowdiff.cli.remote import ask, json_option, read, target_of, target_option, url_option
from shadowdiff.cli.screen import console, text
from shadowdiff.model import Kind, Severity
from shadowdiff.report import Fingerprint, Order, Page, State
from shadowdiff.web.fingerprints import MOST
from shadowdiff.web.words import age, percent, short_path

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN_PLACES: Final = 2
STYLES: Final = {Severity.BREAKING: "bold red", Severity.VALUE: "yellow", Severity.ADDITIVE: "cyan"}
BARS: Final = "▁▂▃▄▅▆▇█"


@click.command()
@target_option
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many.")
@click.option(
    "--sort", type=click.Choice([one.value for one in Order]), default="last_seen", show_default=True, help="The order."
)
@click.option("--route", metavar="ROUTE", help="Only this route, such as 'GET /products/{id}'.")
@click.option("--path", metavar="PATH", help="Only with a place here or below, or one that holds this text.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Only with a difference of this kind.")
@click.option("--severity", type=click.Choice([one.value for one in Severity]), help="Only of this severity.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only in this state.")
@click.option("--since", metavar="TIME", help="Only last seen since: a time, or 30m, 6h, 7d ago.")
@url_option
@json_option
def command(*, target: str | None, url: str, as_json: bool, **asked: str | int | None) -> None:
    """List a target's mismatches, grouped by where they differ; `shadowdiff fingerprint ID` shows one.

    \b
    Examples:
      shadowdiff fingerprints --sort count
      shadowdiff fingerprints --severity breaking --state open
      shadowdiff fingerprints --path price --since 6h
    """  # noqa: D301 - click wants the backspace itself
    name = target_of(target, url)
    answer = ask(url, "fingerprints", target=name, **asked)
    if as_json:
        click.echo(answer)
        return
    page = read(answer, Page, url)
    out = console()
    if not page.fingerprints:
        out.print(text(_nothing(name, page.stored)))
        return
    out.print(_table(page.fingerprints))
    if page.more:
        out.print(text("There are more: raise --limit, or narrow by --route, --path, --kind, --severity.", "dim"))
    if page.other:
        told = f"{page.other:,} mismatches are of further fingerprints: raise limits.fingerprints to tell them apart."
        out.print(text(told, "dim"))


def _nothing(target: str, stored: int) -> str:
    if stored:
        return f"No fingerprint of {target} answers to this; there are {stored:,} in all."
    return f"Nothing of {target} differs so far. `shadowdiff targets {target}` says whether anything was compared."


def _table(found: Sequence[Fingerprint]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True)
    table.add_column("where", ratio=3)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("last day", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    table.add_column("state", no_wrap=True)
    now_ms = int(time.time() * 1000)
    for one in found:
        table.add_row(
            text(one.id, "cyan"),
            where(one),
            f"{one.count:,}",
            percent(one.share),
            bars(one.trend.counts),
            age(one.last_seen_ms, now_ms),
            state(one),
        )
    return table


def where(one: Fingerprint, shown: int = SHOWN_PLACES) -> Text:
    """Return where a fingerprint differs, in a line."""
    line = text(one.route, "dim")
    for place in one.places[:shown]:
        line.append_text(Text.assemble("  ", text(short_path(place.path), STYLES[one.severity]), " "))
        line.append_text(text(place.kind, "dim"))
    more = len(one.places) - shown + one.more_places
    return line.append(f"  and {more} more", "dim") if more > 0 else line


def state(one: Fingerprint) -> Text:
    """Return the state, and whether it came back."""
    return text(one.state.value + (" again" if one.reopened_ms else ""), "bold" if one.reopened_ms else "")


def bars(counts: Sequence[int]) -> str:
    """Return counts as a row of bars; a blank is nothing at all."""
    most = max(counts, default=0)
    return "".join(BARS[(count * (len(BARS) - 1) + most - 1) // most] if count else " " for count in counts)
