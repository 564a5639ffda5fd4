"""`shadowdiff samples`: the newest pairs that differ, a line each."""

from __future__ import annotations

import time

import click
from rich.table import Table

from shadowdiff.cli.remote import ask, json_option, read, target_of, target_option, url_option
from shadowdiff.cli.screen import console, said, text
from shadowdiff.model import Kind
from shadowdiff.web.api import MAX_SAMPLES, Samples
from shadowdiff.web.words import age, headline


@click.command()
@target_option
@click.option("--limit", type=click.IntRange(1, MAX_SAMPLES), default=20, show_default=True, help="How many.")
@click.option("--route", metavar="ROUTE", help="Only this route, such as 'GET /products/{id}'.")
@click.option("--path", metavar="PATH", help="Only pairs that differ here or below, such as price.amount.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Only differences of this kind.")
@click.option("--incomparable", is_flag=True, help="Pairs that could not be compared, instead.")
@url_option
@json_option
def command(
    *,
    target: str | None,
    limit: int,
    route: str | None,
    path: str | None,
    kind: str | None,
    incomparable: bool,
    url: str,
    as_json: bool,
) -> None:
    """List the newest pairs that differ; `shadowdiff sample ID` shows one.

    \b
    Examples:
      shadowdiff samples --target recommendation
      shadowdiff samples --kind removed --limit 5
      shadowdiff samples --path price.amount
    """  # noqa: D301 - click wants the backspace itself
    name = target_of(target, url)
    result = "incomparable" if incomparable else "mismatch"
    answer = ask(url, "samples", target=name, limit=limit, route=route, path=path, kind=kind, result=result)
    if as_json:
        click.echo(answer)
        return
    found = read(answer, Samples, url)
    samples = found.samples
    if not samples:
        why = found.note or "nothing differs, or it is too long ago"
        console().print(text(f"No sample of {name} answers to this: {why}."))
        return
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("what differs", ratio=3)
    table.add_column("request", ratio=2)
    table.add_column("when", no_wrap=True)
    table.add_column("id", no_wrap=True)
    now_ms = int(time.time() * 1000)
    for line in samples:
        request = text(f"{line.method} {line.path}", "dim")
        table.add_row(said(headline(line)), request, age(line.at_ms, now_ms), text(line.id, "cyan"))
    console().print(table)
