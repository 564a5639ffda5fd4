"""`shadowdiff fingerprint`: one group of mismatches, and the values that each side gave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from shadowdiff.cli.fingerprints import STYLES, bars, state
from shadowdiff.cli.remote import ask, json_option, page, read, url_option
from shadowdiff.cli.screen import console, text
from shadowdiff.web.fingerprints import Fingerprinted
from shadowdiff.web.words import moment, percent, short_path

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shadowdiff.web.seen_values import Seen

SHOWN_VALUES = 5


@click.command()
@click.argument("fingerprint_id", metavar="ID")
@click.option("--html", "file", type=click.Path(dir_okay=False, writable=True), help="Write its page as one file.")
@url_option
@json_option
def command(fingerprint_id: str, url: str, file: str | None, *, as_json: bool) -> None:
    """Show one fingerprint: how often, since when, and what v1 and v2 said at its places.

    \b
    Example:
      shadowdiff fingerprints
      shadowdiff fingerprint 3f2a9c0d1e2f
      shadowdiff fingerprint 3f2a9c0d1e2f --html to-share.html
    """  # noqa: D301 - click wants the backspace itself
    if not fingerprint_id.strip():
        raise click.UsageError("ID is empty: give one that `shadowdiff fingerprints` lists")
    if file is not None:
        Path(file).write_bytes(page(url, "fingerprints", fingerprint_id, download=1))
        click.echo(f"{file} holds the page of {fingerprint_id}, redacted as its samples are stored")
        return
    answer = ask(url, "fingerprints", fingerprint_id)
    if as_json:
        click.echo(answer)
        return
    console().print(_page(read(answer, Fingerprinted, url)))


def _page(told: Fingerprinted) -> RenderableType:
    one = told.fingerprint
    head = Text.assemble(
        text(one.route, "bold"), "  ", text(one.severity.value, STYLES[one.severity]), "  ", state(one)
    )
    count = f"{one.count:,} mismatches" if one.count != 1 else "1 mismatch"
    share = "" if one.share is None else f", {percent(one.share)} of all pairs compared"
    lines = [
        head,
        text(f"{count}{share}; first {moment(one.first_seen_ms)}, last {moment(one.last_seen_ms)}", "dim"),
        text(f"last day  {bars(one.trend.counts)}", "dim"),
    ]
    if one.stated:
        lines.append(text(f"{one.stated.state.value} by {one.stated.author}, {moment(one.stated.at_ms)}", "dim"))
    if one.note:
        lines.append(text(f"“{one.note.text}” – {one.note.author}, {moment(one.note.at_ms)}"))
    if one.more_places:
        lines.append(text(f"and {one.more_places:,} more places, not told", "dim"))
    example = one.example
    last = [text(f"shadowdiff sample {example}", "cyan")] if example else [text("No sample is kept any more.", "dim")]
    return Group(*lines, *(_values(seen) for seen in told.seen), *last)


def _values(seen: Seen) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    for one in seen.values[:SHOWN_VALUES]:
        table.add_row(text(_said(one.primary), "blue"), "→", text(_said(one.candidate), "yellow"), f"{one.samples} ×")
    head = Text.assemble(text(short_path(seen.place.path), "bold"), " ", text(seen.place.kind, "dim"))
    more = len(seen.values) - SHOWN_VALUES + seen.more
    return Group(head, table, *([text(f"  and {more:,} more pairs of values", "dim")] if more > 0 else []))


def _said(value: str | None) -> str:
    return "nothing" if value is None else value
