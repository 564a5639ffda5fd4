"""`shadowdiff doctor`: find out why nothing pairs. Each cause comes with a fix and an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from rich.padding import Padding
from rich.text import Text

from shadowdiff.cli.remote import Remote, remote_options
from shadowdiff.cli.screen import console, list_table, text
from shadowdiff.doctor.finding import Diagnosis, Example, Severity

if TYPE_CHECKING:
    from rich.table import Table

STYLES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}
INDENT: Final = 2


@click.command()
@click.option("--target", metavar="NAME", help="Check only this target. Default: check all targets.")
@remote_options
@click.pass_context
def command(ctx: click.Context, remote: Remote, target: str | None) -> None:
    """Find out why nothing pairs, or why pairs are not compared.

    Prints nothing on standard output if nothing is wrong. Exits with 0 if nothing is wrong, 1 if something is, and 2
    if the service does not respond or the target is unknown.

    \b
    Examples:
      shadowdiff doctor
      shadowdiff doctor --target recommendation --json | jq '.findings[].code'
    """  # noqa: D301 - click needs the backspace character
    response = remote.get("doctor", target=target)
    remote.show(response, Diagnosis, _show)
    ctx.exit(1 if remote.decode(response, Diagnosis).findings else 0)


def _show(diagnosis: Diagnosis) -> None:
    if not diagnosis.findings:
        click.echo(f"no problem found for {', '.join(diagnosis.targets) or 'the service'}", err=True)
        return
    out = console()
    for at, finding in enumerate(diagnosis.findings):
        if at:
            out.print()
        about = f"  {finding.code}" + (f" · {finding.target}" if finding.target else "")
        severity = (finding.severity.value, STYLES[finding.severity])
        out.print(Text.assemble(severity, "  ", text(finding.title, "bold"), text(about, "dim")))
        out.print(Padding(text(finding.explanation), (0, 0, 0, INDENT), expand=False))
        for example in finding.examples:
            out.print(Padding(_side_by_side(example), (1, 0, 1, INDENT), expand=False))
        out.print(Padding(Text.assemble(("fix: ", "bold"), text(finding.fix)), (0, 0, 0, INDENT), expand=False))
        for line in finding.lines:
            out.print(Padding(text(line, "cyan"), (0, 0, 0, 2 * INDENT), expand=False), soft_wrap=True)


def _side_by_side(example: Example) -> Table:
    """Return a view of two observations side by side. Differences have a mark as well as a color."""
    table = list_table("", "")
    table.add_column(text(example.primary), overflow="fold")
    table.add_column(text(example.candidate), overflow="fold")
    for row in example.rows:
        style = ("blue", "yellow") if row.differs else ("dim", "dim")
        mark = "~" if row.differs else ""
        table.add_row(mark, text(row.name, "dim"), text(row.primary, style[0]), text(row.candidate, style[1]))
    return table
