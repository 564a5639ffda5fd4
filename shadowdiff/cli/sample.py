"""`shadowdiff sample`: one pair that differs, both answers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from shadowdiff.cli.remote import ask, json_option, page, read, url_option
from shadowdiff.cli.screen import console, inert, said, text
from shadowdiff.report import Sample
from shadowdiff.web.sample_view import SampleView, answered, view
from shadowdiff.web.words import milliseconds, moment

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shadowdiff.report import SideSample
    from shadowdiff.web.side_by_side import Cell, Row
    from shadowdiff.web.words import Said

INDENT = 2
V1, V2 = "blue", "yellow"


@click.command()
@click.argument("sample_id", metavar="ID")
@click.option("--all", "whole", is_flag=True, help="Show equal lines too.")
@click.option("--html", "file", type=click.Path(dir_okay=False, writable=True), help="Write its page as one file.")
@url_option
@json_option
def command(sample_id: str, url: str, file: str | None, *, whole: bool, as_json: bool) -> None:
    """Show one pair that differs: what v1 answered, what v2 answered.

    \b
    Example:
      shadowdiff samples
      shadowdiff sample recommendation-3f2a9c0d1e2f4a5b
    """  # noqa: D301 - click wants the backspace itself
    if not sample_id.strip():
        raise click.UsageError("ID is empty: give one that `shadowdiff samples` lists")
    if file is not None:
        Path(file).write_bytes(page(url, "samples", sample_id, download=1))
        click.echo(f"{file} holds the page of {sample_id}, redacted as it is stored")
        return
    answer = ask(url, "samples", sample_id)
    if as_json:
        click.echo(answer)
        return
    console().print(_page(view(read(answer, Sample, url)), whole=whole))


def _page(shown: SampleView, *, whole: bool) -> RenderableType:
    sample = shown.sample
    about = f"{sample.method} {sample.path}   {moment(sample.at_ms)}   request id {sample.request_id}"
    differences = [_difference("red", told.said, "") for told in shown.counted if len(shown.counted) > 1]
    covered = [_difference("dim", told.said, f"  ignored: {told.found.rule}") for told in shown.covered]
    headers = [
        Text.assemble(text(f"  {row.name}: "), text(row.primary or "–", V1), "  ", text(row.candidate or "–", V2))
        for row in shown.headers
        if row.state == "changed"
    ]
    hidden = [Text(f"  and {shown.hidden:,} more, not listed", "dim")] if shown.hidden > 0 else []
    return Group(
        Text.assemble(said(shown.headline)),
        text(about, "dim"),
        *differences,
        *covered,
        *hidden,
        *headers,
        Rule(style="dim"),
        _bodies(shown, whole=whole),
    )


def _difference(style: str, parts: list[Said], more: str) -> Text:
    line = Text("  ", style)
    line.append_text(said(parts))
    return line.append(inert(more))


def _bodies(shown: SampleView, *, whole: bool) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1))
    table.add_column(_head("v1", shown.sample.primary, V1), ratio=1)
    table.add_column(_head("v2", shown.sample.candidate, V2), ratio=1)
    for block in shown.body.blocks:
        if block.folded and not whole:
            table.add_row(Text(f"    … {block.title}", "dim"), "")
            continue
        for row in block.rows:
            table.add_row(_cell(row, row.primary, V1), _cell(row, row.candidate, V2))
    return table


def _head(name: str, side: SideSample, style: str) -> Text:
    took = "" if side.duration_ms is None else f" · {milliseconds(side.duration_ms)}"
    about = f" {answered(side)}{took} · {side.body.media_type or 'no content type'} · {side.body.bytes_sent:,} B"
    return Text.assemble((name, f"bold {style}"), text(about, "dim"))


def _cell(row: Row, cell: Cell, style: str) -> Text:
    """Return a line; what differs and counts bears a mark that needs no colour."""
    if not cell.number:
        return Text("")
    mark = {"changed": "~ ", "ignored": "· ", "equal": "  "}[row.state]
    line = Text(mark + " " * INDENT * cell.depth, "dim" if row.state == "ignored" else "")
    for piece in cell.pieces:
        changed = row.state == "changed"
        line.append(
            inert(piece.text), f"bold reverse {style}" if piece.changed and changed else style if changed else ""
        )
    return line
