"""`shadowdiff rules`: preview rules on stored samples; list, add and remove rules."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from shadowdiff.cli.remote import Remote, remote_options, target_option, url_option, user
from shadowdiff.cli.rule_file import rule_of, rules_in
from shadowdiff.cli.screen import console, text
from shadowdiff.display.wording import place_text, rule_yaml
from shadowdiff.rule_changes import changes
from shadowdiff.rule_changes.preview import Preview
from shadowdiff.rule_changes.suggestions import Suggestions

_LISTED = 20


@click.group()
def command() -> None:
    """Preview rules on stored samples; list, add and remove rules."""


@command.command("preview")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@target_option
@click.option("--keep-existing", is_flag=True, help="Keep the rules in force. Default: FILE replaces them.")
@click.option(
    "--limit",
    type=click.IntRange(1, changes.MAX_PREVIEWED_SAMPLES),
    default=changes.PREVIEWED_SAMPLES,
    show_default=True,
    help="Number of samples to read.",
)
@remote_options
def preview(remote: Remote, *, file: Path, target: str | None, keep_existing: bool, limit: int) -> None:
    """Show the effect of the rules in FILE on the stored samples. Nothing is changed.

    FILE is a YAML list of rules, as under `rules:` of a target, or a whole configuration.

    \b
    Examples:
      shadowdiff rules preview shadowdiff.yaml --target recommendation
      shadowdiff rules preview new-rules.yaml --keep-existing
    """  # noqa: D301 - click needs the backspace character
    name = remote.target_of(target)
    body = changes.PreviewRequest(target=name, rules=rules_in(file, name), keep_existing=keep_existing)
    remote.show(remote.send("POST", body, "rules", "preview", limit=limit), Preview, _print_preview)


@command.command("suggest")
@target_option
@remote_options
def suggest(remote: Remote, target: str | None) -> None:
    """Suggest rules for values that are new in each response or that mirroring changes. Nothing is changed."""
    remote.show(remote.get("suggestions", target=remote.target_of(target)), Suggestions, _print_suggestions)


def _print_suggestions(found: Suggestions) -> None:
    out = console()
    if not found.suggestions and not found.body_types:
        out.print(text(f"no suggestions from {found.samples} samples"))
    for typed in found.body_types:
        out.print(text(f'body_types: {{"{typed.route}": {typed.body_type}}}', "cyan"))
        sent = typed.content_type or "no Content-Type"
        counts = f"in {typed.samples} of {found.samples} samples; {typed.disappearing} samples would no longer count"
        out.print(text(f"  both bodies are JSON under {sent}: {counts} ({typed.example})"))
    for one in found.suggestions:
        out.print(text(rule_yaml(one.rule), "cyan"))
        share = f"in {one.samples} of {found.samples} samples, and in {one.pairs:,} pairs"
        counts = f"{share}; {one.disappearing} samples would no longer differ"
        out.print(text(f"  {one.reason}: {counts} ({one.example})"))
        if len(one.routes) > 1:
            out.print(text(f"  on {len(one.routes)} routes, such as {one.route}"))
        for also in one.also_ignores:
            out.print(text(f"  would also ignore: {also.route}: {place_text(also.place.path, also.place.kind)}"))
        for other in one.not_covered:
            out.print(
                text(f"  would still be reported: {other.pairs:,} pairs with the kind {other.kind} at this path", "dim")
            )


@command.command("list")
@click.option("--target", metavar="NAME", help="List only the rules of this target.")
@remote_options
def list_(remote: Remote, target: str | None) -> None:
    """List the rules in force: rules in the configuration, rules added at run time, and built-in rules."""
    remote.show(remote.get("rules", target=target), changes.RulesInForce, _print_rules)


@command.command("add")
@click.argument("rule")
@target_option
@click.option("--reason", required=True, metavar="TEXT", help="Why the difference does not matter.")
@click.option("--author", metavar="NAME", help="Your name. Default: the user of this machine.")
@click.option("--yes", is_flag=True, help="Add the rule even if it changes none of the stored samples.")
@remote_options
def add(remote: Remote, *, rule: str, target: str | None, reason: str, author: str | None, yes: bool) -> None:
    """Add a RULE, written in YAML. All replicas apply it within 5 s, and a new run starts.

    \b
    Example:
      shadowdiff rules add '{ignore: $.meta.generatedAt}' --reason clock
    """  # noqa: D301 - click needs the backspace character
    name, declared = remote.target_of(target), rule_of(rule)
    body = changes.NewRule(target=name, rule=declared, author=author or user(), reason=reason, confirm=yes)
    remote.show(remote.send("POST", body, "rules"), changes.RuleInForce, _print_rule)


@command.command("remove")
@click.argument("rule_id", metavar="ID")
@click.option("--reason", default="", metavar="TEXT", help="The reason; it is logged with your name.")
@click.option("--author", metavar="NAME", help="Your name. Default: the user of this machine.")
@remote_options
def remove(remote: Remote, rule_id: str, reason: str, author: str | None) -> None:
    """Remove the rule with this ID, which somebody added. To remove a rule of the configuration, edit the file."""
    response = remote.send("DELETE", None, "rules", rule_id, author=author or user(), reason=reason or None)
    remote.show(response, changes.RuleInForce, _print_rule)


@command.command("export")
@click.option("--target", metavar="NAME", help="Print only the rules of this target.")
@url_option
def export(target: str | None, url: str) -> None:
    """Print the rules in force as YAML for the configuration."""
    click.echo(Remote(url).get_page("api", "v1", "rules", target=target, format="yaml"), nl=False)


def _print_preview(found: Preview) -> None:
    out = console()
    undecided = sum(found.undecided.values())
    out.print(text(f"{found.samples} newest samples of {found.target} that differ"))
    before, after = (
        ", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "none"
        for counts in (found.before, found.after)
    )
    out.print(text(f"  before  {before}"))
    out.print(text(f"  after   {after}" + (f", {undecided} undecided" if undecided else "")))
    for why, count in found.undecided.items():
        out.print(text(f"    undecided: {count}, because {why}", "dim"))
    out.print(
        text(
            f"{found.changed} {'sample changes its' if found.changed == 1 else 'samples change their'} result; "
            f"{found.disappearing} of {len(found.differences)} differences would disappear"
        )
    )
    for one in found.differences[:_LISTED]:
        places = ", ".join(place_text(place.path, place.kind) for place in one.places) or "no difference"
        effect, style = ("disappears", "yellow") if one.disappears else (f"{one.remaining} remain", "dim")
        out.print(Text.assemble(text(f"  {effect:<10}", style), text(f"{one.samples:>5}  {one.route}  {places}")))
    if found.newly_ignored:
        out.print(text("would be ignored:"))
    for one in found.newly_ignored[:_LISTED]:
        what = f"{one.samples:>5}  {one.route}: {place_text(one.place.path, one.place.kind)}, by {one.rule}"
        out.print(Text.assemble(text(f"  {what}"), text(f"  {one.values} different values", "dim")))
        out.print(text(f"         {one.primary or '-'} → {one.candidate or '-'}  ({one.example})", "dim"))
    for warning in found.warnings:
        out.print(text(f"warning: {warning}", "yellow"))


def _print_rules(found: changes.RulesInForce) -> None:
    for rule in found.rules:
        _print_rule(rule)
    for one in found.built_in:
        line = Text.assemble(text(f"{one.target}  "), text(one.label, "cyan"), text(f"  {one.name}", "dim"))
        console().print(line if one.on else line.append("  off", "yellow"))


def _print_rule(rule: changes.RuleInForce) -> None:
    origin = "configuration" if rule.origin == "configuration" else f"{rule.id} by {rule.author}, {rule.added_at}"
    line = Text.assemble(text(f"{rule.target}  "), text(rule_yaml(rule.rule), "cyan"), text(f"  {origin}", "dim"))
    console().print(line if not rule.expired else line.append("  expired", "yellow"))
