"""Compare two responses in files, as diff(1) would.

In: two bodies (their type by file ending), or two recorded exchanges (JSON with `status`, `headers` and `body` or
`body_base64`).  Out: the differences, and an exit status: 0 match or ignored, 1 mismatch, 2 incomparable or usage.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click
import msgspec
import yaml

from shadowdiff.compare import Limits, NotExportableError, NotJsonError, compare, deep_diff, json_patch, parse_exact
from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.model import Comparison, Kind, Observation, Pair, Result, Side
from shadowdiff.rules import CompiledRules, Router, RuleError, compile_rules, parse_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.compare.values import Value
    from shadowdiff.model import Difference

TYPES: Final = {
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".xml": "application/xml",
    ".html": "text/html",
    ".htm": "text/html",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".sse": "text/event-stream",
    ".form": "application/x-www-form-urlencoded",
}
EXIT: Final = {Result.MATCH: 0, Result.IGNORED: 0, Result.MISMATCH: 1, Result.INCOMPARABLE: 2}
_COLOURS: Final = {"breaking": "red", "value": "yellow", "additive": "cyan"}
_CHANGED: Final = re.compile(r"\[-.*?-\]|\{\+.*?\+\}", re.DOTALL)


@click.command("compare")
@click.argument("v1", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("v2", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--rules",
    "rules_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML list of rules, as under `rules:` of a target.",
)
@click.option("--content-type", help="Read both files as bodies of this type, whatever their endings say.")
@click.option("--route", default="", help="The route that rules see, such as 'GET /orders/{id}'.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "patch", "deepdiff"]),
    default="text",
    show_default=True,
    help="json: the result. patch: RFC 6902, from V1 to V2. deepdiff: DeepDiff's own report.",
)
@click.pass_context
def command(
    context: click.Context,
    *,
    v1: Path,
    v2: Path,
    rules_file: Path | None,
    content_type: str | None,
    route: str,
    as_json: bool,
    form: str,
) -> None:
    """Compare two responses in files: V1 is the primary's, V2 the candidate's.

    Exits with 0 where they match or rules cover every difference, 1 where they differ, 2 where they cannot be
    compared.
    """
    rules = _rules(rules_file)
    one, other = _read(v1, Side.PRIMARY, content_type), _read(v2, Side.CANDIDATE, content_type)
    named = route or Router().route(one.method, one.path)
    pair = Pair(key=b"", target="", route=named, primary=one, candidate=other)
    comparison = compare(pair, rules, Limits(value_chars=4096))
    if form in {"patch", "deepdiff"}:
        click.echo(_export(form, (v1, one), (v2, other)))
    elif as_json or form == "json":
        click.echo(msgspec.json.encode(comparison).decode())
    else:
        _print(comparison)
    context.exit(EXIT[comparison.result])


def _rules(file: Path | None) -> CompiledRules:
    try:
        declared = cast("list[object] | None", yaml.safe_load(file.read_text())) if file else None
        return compile_rules(parse_rules(declared or []), dt.datetime.now(dt.UTC))
    except (yaml.YAMLError, RuleError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {error}") from error


def _read(file: Path, side: Side, content_type: str | None) -> Observation:
    body = file.read_bytes()
    exchange = None if content_type else _exchange(body)
    if exchange is not None:
        return _from_exchange(file, side, exchange)
    named = content_type or TYPES.get(file.suffix.lower(), "application/octet-stream")
    return _observation(side, body, ((b"content-type", named.encode()),), {})


def _exchange(body: bytes) -> Mapping[str, Any] | None:
    """Return a recorded exchange: an object with a status, headers, and a body in one of its two spellings."""
    try:
        read = cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    found = cast("Mapping[str, Any]", read)
    whole = {"status", "headers"} <= found.keys() and ("body" in found or "body_base64" in found)
    return found if whole and type(found["status"]) is int else None


def _from_exchange(file: Path, side: Side, exchange: Mapping[str, Any]) -> Observation:
    headers: Any = exchange["headers"]
    pairs: Any = cast("Mapping[object, object]", headers).items() if isinstance(headers, dict) else headers
    try:
        fields = tuple((str(name).lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in pairs)
        text: Any = exchange.get("body")
        body = text.encode() if isinstance(text, str) else base64.b64decode(exchange["body_base64"], validate=True)
    except (TypeError, ValueError, KeyError, binascii.Error) as error:
        raise click.UsageError(
            f"{file}: not a recorded exchange: {error}; headers are an object or a list of pairs, body is a text, "
            "body_base64 is base64"
        ) from error
    return _observation(side, body, fields, exchange)


def _observation(
    side: Side, body: bytes, headers: tuple[tuple[bytes, bytes], ...], exchange: Mapping[str, Any]
) -> Observation:
    size: Any = exchange.get("size", len(body))
    return Observation(
        side=side,
        target="",
        id="",
        id_source="",
        method=str(exchange.get("method", "GET")).upper(),
        path=str(exchange.get("path", "/")),
        host=str(exchange.get("host", "")),
        status=exchange.get("status", 200),
        headers=headers,
        body=body,
        body_bytes=size if isinstance(size, int) else len(body),
    )


def _export(form: str, *sides: tuple[Path, Observation]) -> str:
    one, other = (_value(form, file, side) for file, side in sides)
    try:
        return json_patch(one, other) if form == "patch" else deep_diff(one, other)
    except NotExportableError as error:
        raise click.UsageError(f"--format {form}: {error}; --format json says it") from error


def _value(form: str, file: Path, side: Observation) -> Value:
    try:
        return parse_exact(_decoded(side))
    except (CodingError, NotJsonError) as error:
        raise click.UsageError(f"--format {form} is for two JSON bodies, and {file} holds none: {error}") from error


def _decoded(side: Observation) -> bytes:
    codings = [value for name, value in side.headers if name == b"content-encoding"]
    return undo(side.body, b",".join(codings), Limits())


def _print(comparison: Comparison) -> None:
    counted = sum(difference.rule is None for difference in comparison.differences)
    covered = len(comparison.differences) - counted
    differences = "1 difference" if counted == 1 else f"{counted} differences"
    said = comparison.reason or f"{differences}, {covered} covered by rules"
    click.secho(f"{comparison.result}: {said}", bold=True)
    for difference in comparison.differences:
        _print_one(difference)
    if comparison.unlisted:
        click.echo(f"… and {comparison.unlisted} more")


def _print_one(difference: Difference) -> None:
    colour = _COLOURS[difference.severity] if difference.rule is None else "bright_black"
    click.secho(f"{difference.kind:<8} {difference.path}", fg=colour, nl=difference.rule is None)
    if difference.rule is not None:
        click.secho(f"  ({difference.rule})", fg="bright_black")
    for mark, value, shade in (("-", difference.primary, "red"), ("+", difference.candidate, "green")):
        if value is not None:
            shown = _ends_shown(value) if difference.kind is Kind.TEXT else value
            click.secho("\n".join(f"  {mark} {line}" for line in shown.splitlines() or [""]), fg=shade)


def _ends_shown(text: str) -> str:
    """Return a text's difference with the line ends that changed written out: as such they would break the marks."""
    return _CHANGED.sub(lambda found: found[0].replace("\r", "\\r").replace("\n", "\\n"), text)
