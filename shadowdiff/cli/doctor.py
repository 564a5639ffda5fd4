"""`shadowdiff doctor`: why nothing pairs, each cause with two halves side by side and the way out.

In: the address of a running service.  Out: findings on standard output, none when all is well; exit 0: nothing is
wrong, 1: something is, 2: the service or the target is not there.
"""

from __future__ import annotations

from typing import Final

import click
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shadowdiff.cli.remote import ask, json_option, read, url_option
from shadowdiff.cli.screen import console, text
from shadowdiff.doctor import Diagnosis, Example, Finding, Gravity

STYLES: Final = {Gravity.ERROR: "bold red", Gravity.WARNING: "bold yellow"}
INDENT: Final = 2


@click.command()
@click.option("--target", metavar="NAME", help="Only this target; left out: all of them.")
@url_option
@json_option
@click.pass_context
def command(ctx: click.Context, *, target: str | None, url: str, as_json: bool) -> None:
    """Say why nothing pairs, or is compared.

    Prints nothing on standard output when all is well. Ends with 0 when nothing is wrong, 1 when something is, and 2
    where the service or the target is not there.

    \b
    Examples:
      shadowdiff doctor
      shadowdiff doctor --target recommendation --json | jq '.findings[].code'
    """  # noqa: D301 - click wants the backspace itself
    answer = ask(url, "doctor", target=target)
    diagnosis = read(answer, Diagnosis, url)
    if as_json:
        click.echo(answer)
    else:
        _show(diagnosis)
    ctx.exit(1 if diagnosis.findings else 0)


def _show(diagnosis: Diagnosis) -> None:
    if not diagnosis.findings:
        click.echo(f"nothing is wrong with {', '.join(diagnosis.targets) or 'the service'}", err=True)
        return
    out = console()
    for at, finding in enumerate(diagnosis.findings):
        if at:
            out.print()
        out.print(_head(finding))
        out.print(Padding(text(finding.explanation), (0, 0, 0, INDENT), expand=False))
        for example in finding.examples:
            out.print(Padding(_beside(example), (1, 0, 1, INDENT), expand=False))
        out.print(Padding(Text.assemble(("way out: ", "bold"), text(finding.way_out)), (0, 0, 0, INDENT), expand=False))
        for line in finding.lines:
            out.print(Padding(text(line, "cyan"), (0, 0, 0, 2 * INDENT), expand=False), soft_wrap=True)


def _head(finding: Finding) -> Text:
    about = f"  {finding.code}" + (f" · {finding.target}" if finding.target else "")
    return Text.assemble(
        (finding.gravity.value, STYLES[finding.gravity]), "  ", text(finding.title, "bold"), text(about, "dim")
    )


def _beside(example: Example) -> Table:
    """Return two halves side by side; what differs bears a mark that needs no colour."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("")
    table.add_column(text(example.primary), overflow="fold")
    table.add_column(text(example.candidate), overflow="fold")
    for row in example.rows:
        style = ("blue", "yellow") if row.differs else ("dim", "dim")
        mark = "~" if row.differs else ""
        table.add_row(mark, text(row.name, "dim"), text(row.primary, style[0]), text(row.candidate, style[1]))
    return table
