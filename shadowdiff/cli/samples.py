"""`shadowdiff samples` lists the newest pairs that differ; `sample` shows one pair with both responses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from shadowdiff.cli.remote import Remote, html_option, remote_options, target_option
from shadowdiff.cli.screen import console, inert, list_table, sentence, text
from shadowdiff.display.sample_view import SampleView, response_status, view
from shadowdiff.display.wording import age, headline, milliseconds, utc
from shadowdiff.model import Kind
from shadowdiff.queries.samples import MAX_SAMPLES, Samples
from shadowdiff.report import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from shadowdiff.display.body_diff import Cell, DiffRow
    from shadowdiff.display.wording import Segment
    from shadowdiff.report import SideSample

INDENT = 2
V1, V2 = "blue", "yellow"


@click.command()
@target_option
@click.option("--limit", type=click.IntRange(1, MAX_SAMPLES), default=20, show_default=True, help="Number of pairs.")
@click.option("--route", metavar="ROUTE", help="Show only this route, such as 'GET /products/{id}'.")
@click.option("--path", metavar="PATH", help="Show only pairs that differ at or below this path, such as price.amount.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Show only this kind of difference.")
@click.option("--incomparable", is_flag=True, help="List pairs that are not comparable, instead of pairs that differ.")
@remote_options
def command(remote: Remote, *, target: str | None, incomparable: bool, **filters: str | int | None) -> None:
    """List the newest pairs that differ. `shadowdiff sample ID` shows one pair.

    \b
    Examples:
      shadowdiff samples --target recommendation
      shadowdiff samples --kind removed --limit 5
      shadowdiff samples --path price.amount
    """  # noqa: D301 - click needs the backspace character
    name = remote.target_of(target)
    result = "incomparable" if incomparable else "mismatch"
    response = remote.get("samples", target=name, result=result, **filters)
    remote.show(response, Samples, lambda found: _print_list(name, found))


@click.command()
@click.argument("sample_id", metavar="ID")
@click.option("--all", "whole", is_flag=True, help="Show equal lines too.")
@html_option
@remote_options
def sample(remote: Remote, sample_id: str, file: Path | None, *, whole: bool) -> None:
    """Show one pair that differs, with both responses side by side.

    \b
    Example:
      shadowdiff samples
      shadowdiff sample recommendation-3f2a9c0d1e2f4a5b
    """  # noqa: D301 - click needs the backspace character
    if not remote.save_page("samples", sample_id, file):
        response = remote.get("samples", sample_id)
        remote.show(response, Sample, lambda found: console().print(_page(view(found), whole=whole)))


def _print_list(target: str, found: Samples) -> None:
    if not found.samples:
        why = found.note or "there are no differences, or their samples expired"
        console().print(text(f"No samples of {target} match: {why}."))
        return
    table = list_table("difference", "request", "when", "id", ratios={"difference": 3, "request": 2})
    now_ms = int(time.time() * 1000)
    for line in found.samples:
        request = text(f"{line.method} {line.path}", "dim")
        table.add_row(sentence(headline(line)), request, age(line.at_ms, now_ms), text(line.id, "cyan"))
    console().print(table)


def _page(shown: SampleView, *, whole: bool) -> RenderableType:
    sample = shown.sample
    about = f"{sample.method} {sample.path}   {utc(sample.at_ms)}   request id {sample.request_id}"
    differences = [_difference("red", one.text, "") for one in shown.counted if len(shown.counted) > 1]
    covered = [_difference("dim", one.text, f"  ignored: {one.found.rule}") for one in shown.covered]
    headers = [
        Text.assemble(text(f"  {row.name}: "), text(row.primary or "–", V1), "  ", text(row.candidate or "–", V2))
        for row in shown.headers
        if row.state == "changed"
    ]
    hidden = [Text(f"  + {shown.unlisted:,} more differences", "dim")] if shown.unlisted > 0 else []
    return Group(
        Text.assemble(sentence(shown.headline)),
        text(about, "dim"),
        *differences,
        *covered,
        *hidden,
        *headers,
        Rule(style="dim"),
        _bodies(shown, whole=whole),
    )


def _difference(style: str, parts: list[Segment], more: str) -> Text:
    line = Text("  ", style)
    line.append_text(sentence(parts))
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
    about = f" {response_status(side)}{took} · {side.body.media_type or 'no content type'} · {side.body.bytes_sent:,} B"
    return Text.assemble((name, f"bold {style}"), text(about, "dim"))


def _cell(row: DiffRow, cell: Cell, style: str) -> Text:
    """Return a line. A difference that counts has a mark as well as a color."""
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
