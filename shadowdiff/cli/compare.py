"""`shadowdiff compare`: compare two responses in files, with the exit status of diff(1).

The module `exchange` reads the files. The last line, or standard error, states how the files were read.
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from shadowdiff.cli.exchange import read_sides
from shadowdiff.cli.rule_file import rules_in
from shadowdiff.compare import Limits, NotExportableError, NotJsonError, compare, deep_diff, json_patch, parse_exact
from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.formats import ALL_ROUTES
from shadowdiff.config.value_types import body_type as checked_type
from shadowdiff.model import Comparison, Kind, Pair, Result
from shadowdiff.queries.shown_differences import shown_comparison
from shadowdiff.rules import Router, RuleError, compile_rules, parse_rules

if TYPE_CHECKING:
    from shadowdiff.model import Difference, Observation
    from shadowdiff.rules.json_values import Value

EXIT: Final = {Result.MATCH: 0, Result.IGNORED: 0, Result.MISMATCH: 1, Result.INCOMPARABLE: 2}
_COLORS: Final = {"breaking": "red", "value": "yellow", "additive": "cyan"}
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_CHANGED: Final = re.compile(r"\[-.*?-\]|\{\+.*?\+\}", re.DOTALL)


@click.command("compare")
@click.argument("v1", type=_FILE)
@click.argument("v2", type=_FILE)
@click.option(
    "--rules",
    "rules_file",
    type=_FILE,
    help="A YAML file with a list of rules, or a configuration with one target.",
)
@click.option(
    "--as",
    "read_as",
    type=click.Choice(["body", "exchange"]),
    help="How to read both files. Default: exchange if both are exchanges and this hides no difference, else body.",
)
@click.option("--content-type", help="Read both files as bodies of this type, regardless of their names.")
@click.option(
    "--body-type", help="The type of both bodies, regardless of Content-Type, as in `body_types` of a target."
)
@click.option("--route", default="", help="The route, which decides which rules apply, such as 'GET /orders/{id}'.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "patch", "deepdiff"]),
    default="text",
    show_default=True,
    help="json: all differences. patch: an RFC 6902 patch that turns V1 into V2. deepdiff: the report of DeepDiff.",
)
@click.pass_context
def command(
    context: click.Context,
    *,
    v1: Path,
    v2: Path,
    rules_file: Path | None,
    read_as: str | None,
    content_type: str | None,
    body_type: str | None,
    route: str,
    as_json: bool,
    form: str,
) -> None:
    """Compare two responses that are stored in files: V1 is the primary's response, V2 is the candidate's.

    The file name extension determines the type of a body. A recorded exchange is a JSON object with status, headers,
    and body or body_base64. The output states how the files were read.

    Exits with 0 if the responses match or rules cover every difference, 1 if they differ, 2 if they cannot be compared.
    """
    if body_type is not None:
        try:
            checked_type(body_type)
        except ValueError as error:
            raise click.BadParameter(f"{body_type!r}: {error}", param_hint="--body-type") from error
    if as_json and form not in {"text", "json"}:
        raise click.UsageError(f"--json and --format {form} cannot be combined")
    try:
        rules = compile_rules(parse_rules(rules_in(rules_file) if rules_file else []), dt.datetime.now(dt.UTC))
    except RuleError as error:
        raise click.UsageError(f"{rules_file}: {error}") from error
    one, other, reading = read_sides(v1, v2, content_type, read_as)
    named = route or Router().route(one.method, one.path)
    pair = Pair(key=b"", target="", route=named, primary=one, candidate=other)
    types = ((ALL_ROUTES, body_type),) if body_type else ()
    comparison = compare(pair, rules, Limits(value_chars=4096, body_types=types))
    if form in {"patch", "deepdiff"}:
        click.echo(_export(form, (v1, one), (v2, other)))
    elif as_json or form == "json":
        click.echo(msgspec.json.encode(shown_comparison(comparison)).decode())
    else:
        _print(comparison)
    click.secho(f"read {reading}", dim=True, err=form != "text" or as_json)
    context.exit(EXIT[comparison.result])


def _export(form: str, *sides: tuple[Path, Observation]) -> str:
    one, other = (_value(form, file, side) for file, side in sides)
    try:
        return json_patch(one, other) if form == "patch" else deep_diff(one, other)
    except NotExportableError as error:
        raise click.UsageError(f"--format {form}: {error}; use --format json") from error


def _value(form: str, file: Path, side: Observation) -> Value:
    codings = b",".join(value for name, value in side.headers if name == b"content-encoding")
    try:
        return parse_exact(undo(side.body, codings, Limits()))
    except (CodingError, NotJsonError) as error:
        raise click.UsageError(f"--format {form} needs two JSON bodies, but {file} is not JSON: {error}") from error


def _print(comparison: Comparison) -> None:
    counted = sum(difference.rule is None for difference in comparison.differences)
    covered = len(comparison.differences) - counted
    differences = "1 difference" if counted == 1 else f"{counted} differences"
    summary = comparison.reason or f"{differences}, {covered} covered by rules"
    click.secho(f"{comparison.result}: {summary}", bold=True)
    for difference in comparison.differences:
        _print_one(difference)
    if comparison.unlisted:
        click.echo(f"… and {comparison.unlisted} more")


def _print_one(difference: Difference) -> None:
    color = _COLORS[difference.severity] if difference.rule is None else "bright_black"
    click.secho(f"{difference.kind:<8} {difference.path}", fg=color, nl=difference.rule is None)
    if difference.rule is not None:
        click.secho(f"  ({difference.rule})", fg="bright_black")
    for mark, value, value_color in (("-", difference.primary, "red"), ("+", difference.candidate, "green")):
        if value is not None:
            shown = _escape_line_ends(value) if difference.kind is Kind.TEXT else value
            click.secho("\n".join(f"  {mark} {line}" for line in shown.splitlines() or [""]), fg=value_color)


def _escape_line_ends(text: str) -> str:
    """Return a text diff with changed line ends escaped, so that each line keeps its + or - mark."""
    return _CHANGED.sub(lambda found: found[0].replace("\r", "\\r").replace("\n", "\\n"), text)
