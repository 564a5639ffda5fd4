"""`shadowdiff rules`: try rules on the pairs that were sampled, and make rules that hold at once everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click
import msgspec
import yaml
from rich.text import Text

from shadowdiff.cli.author import author as user
from shadowdiff.cli.remote import ask, json_option, read, take_back, target_of, target_option, tell, url_option
from shadowdiff.cli.screen import console, text
from shadowdiff.web.preview import Preview
from shadowdiff.web.rules import MOST_PREVIEWED, PREVIEWED, NewRule, RuleInForce, Rules, RulesToTry
from shadowdiff.web.suggestions import Suggestions
from shadowdiff.web.words import short_path

_LISTED = 20
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Try rules on the pairs that were sampled, and make rules that hold at once everywhere."""


@command.command("preview")
@click.argument("file", type=_FILE)
@target_option
@click.option("--beside", is_flag=True, help="Try them beside the rules in force, not in their place.")
@click.option("--limit", type=click.IntRange(1, MOST_PREVIEWED), default=PREVIEWED, show_default=True, help="Samples.")
@url_option
@json_option
def preview(*, file: Path, target: str | None, beside: bool, limit: int, url: str, as_json: bool) -> None:
    """Say what the rules in FILE would make of the samples: what changes, what vanishes, what else is hidden.

    FILE is a YAML list of rules, as under `rules:` of a target, or a whole configuration. Nothing is changed.

    \b
    Examples:
      shadowdiff rules preview shadowdiff.yaml --target recommendation
      shadowdiff rules preview new-rules.yaml --beside
    """  # noqa: D301 - click wants the backspace itself
    name = target_of(target, url)
    asked = msgspec.json.encode(RulesToTry(target=name, rules=_declared(file, name), beside=beside), enc_hook=str)
    answer = tell(url, asked, "rules", "preview", limit=limit)
    if as_json:
        click.echo(answer)
    else:
        _show(read(answer, Preview, url))


@command.command("suggest")
@target_option
@url_option
@json_option
def suggest(*, target: str | None, url: str, as_json: bool) -> None:
    """Say which places' values are always made anew, and which rules would cover that. Nothing is changed."""
    answer = ask(url, "suggestions", target=target_of(target, url))
    if as_json:
        click.echo(answer)
        return
    told, out = read(answer, Suggestions, url), console()
    if not told.suggestions:
        out.print(text(f"nothing to suggest, from {told.samples} samples"))
    for one in told.suggestions:
        out.print(text(_in_a_line(one.rule), "cyan"))
        counts = (
            f"in {one.samples} of {told.samples} samples, {one.pairs:,} pairs; {one.vanish} samples would not count"
        )
        out.print(text(f"  {one.why}: {counts} ({one.example})"))
        for also in one.hides:
            out.print(text(f"  would hide as well: {also.route}  {short_path(also.place.path)} {also.place.kind}"))
        for beside in one.beside:
            out.print(text(f"  would still count: {beside.kind} there, in {beside.pairs:,} pairs", "dim"))


@command.command("list")
@click.option("--target", metavar="NAME", help="Only this target's.")
@url_option
@json_option
def list_(*, target: str | None, url: str, as_json: bool) -> None:
    """List the rules in force, those of the configuration and those made here."""
    answer = ask(url, "rules", target=target)
    if as_json:
        click.echo(answer)
        return
    for rule in read(answer, Rules, url).rules:
        _line(rule)


@command.command("add")
@click.argument("rule")
@target_option
@click.option("--reason", required=True, metavar="TEXT", help="Why it does not matter.")
@click.option("--author", metavar="NAME", help="Who says so; else the user of this machine.")
@url_option
@json_option
def add(*, rule: str, target: str | None, reason: str, author: str | None, url: str, as_json: bool) -> None:
    """Make a RULE, in YAML; it holds in every process within five seconds, and opens a new epoch.

    \b
    Example:
      shadowdiff rules add '{ignore: $.meta.generatedAt}' --reason clock
    """  # noqa: D301 - click wants the backspace itself
    name = target_of(target, url)
    asked = NewRule(target=name, rule=_one(rule), author=author or user(), reason=reason)
    _told(tell(url, msgspec.json.encode(asked, enc_hook=str), "rules"), url, as_json=as_json)


@command.command("remove")
@click.argument("rule_id", metavar="ID")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is logged with your name.")
@click.option("--author", metavar="NAME", help="Who takes it back; else the user of this machine.")
@url_option
@json_option
def remove(*, rule_id: str, reason: str, author: str | None, url: str, as_json: bool) -> None:
    """Take back the rule ID, which was made here; those of the configuration are changed there."""
    _told(take_back(url, "rules", rule_id, author=author or user(), reason=reason or None), url, as_json=as_json)


@command.command("export")
@click.option("--target", metavar="NAME", help="Only this target's.")
@url_option
def export(*, target: str | None, url: str) -> None:
    """Print the rules in force as the YAML of the configuration."""
    click.echo(ask(url, "rules", target=target, format="yaml"), nl=False)


def _declared(file: Path, target: str) -> list[dict[str, Any]]:
    """Return the rules in a file: a list of them, or those of the target in a configuration."""
    try:
        found: Any = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    if isinstance(found, dict) and "targets" in found:
        targets = cast("list[dict[str, Any]]", found["targets"])
        found = next((one.get("rules", []) for one in targets if one.get("name") == target), None)
        if found is None:
            raise click.UsageError(f"{file} names no target {target!r}")
    elif isinstance(found, dict):
        found = cast("dict[str, Any]", found).get("rules")
    if not isinstance(found, list) or not all(isinstance(rule, dict) for rule in cast("list[Any]", found)):
        raise click.UsageError(f"{file} holds no rules: write a list, such as - {{ignore: $.at}}, or a configuration")
    return cast("list[dict[str, Any]]", found)


def _one(rule: str) -> dict[str, Any]:
    try:
        found: Any = yaml.safe_load(rule)
    except yaml.YAMLError as error:
        raise click.UsageError(f"RULE is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError(f"RULE is {rule!r}: write it as '{{ignore: $.path}}'")
    return cast("dict[str, Any]", found)


def _show(found: Preview) -> None:
    out = console()
    undecided = sum(found.undecided.values())
    out.print(text(f"{found.samples} samples of {found.target}, the newest that differ"))
    out.print(text(f"  as counted   {_results(found.counted)}"))
    out.print(text(f"  as judged    {_results(found.judged)}" + (f", {undecided} undecided" if undecided else "")))
    for why, count in found.undecided.items():
        out.print(text(f"    undecided: {count}, since {why}", "dim"))
    out.print(text(f"{found.changed} change result; {found.vanishing} of {len(found.faults)} faults vanish"))
    for fault in found.faults[:_LISTED]:
        places = ", ".join(f"{short_path(place.path)} {place.kind}" for place in fault.places) or "no place"
        said, style = ("vanishes", "yellow") if fault.vanishes else (f"{fault.left} left", "dim")
        out.print(Text.assemble(text(f"  {said:<10}", style), text(f"{fault.samples:>5}  {fault.route}  {places}")))
    if found.hidden:
        out.print(text("hidden, that counted:"))
    for one in found.hidden[:_LISTED]:
        what = f"{one.samples:>5}  {one.route}  {short_path(one.place.path)} {one.place.kind}  by {one.rule}"
        out.print(Text.assemble(text(f"  {what}"), text(f"  {one.values} different values", "dim")))
        out.print(text(f"         {one.primary or '-'} → {one.candidate or '-'}  ({one.example})", "dim"))
    for warning in found.warnings:
        out.print(text(f"warning: {warning}", "yellow"))


def _results(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "none"


def _line(rule: RuleInForce) -> None:
    origin = "configuration" if rule.origin == "configuration" else f"{rule.id} by {rule.author}, {rule.made_at}"
    shown = _in_a_line(rule.rule)
    line = Text.assemble(text(f"{rule.target}  "), text(shown, "cyan"), text(f"  {origin}", "dim"))
    console().print(line if not rule.expired else line.append("  expired", "yellow"))


def _in_a_line(rule: dict[str, Any]) -> str:
    return str(yaml.safe_dump(rule, default_flow_style=True, width=1000, allow_unicode=True, sort_keys=False)).strip()


def _told(answer: bytes, url: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(answer)
    else:
        _line(read(answer, RuleInForce, url))
