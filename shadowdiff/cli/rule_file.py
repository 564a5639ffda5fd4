"""Read the rules in a file or a command argument, exactly as the configuration loader reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from shadowdiff.config.document import read_value
from shadowdiff.config.problem import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_FORM = "write a list, such as - {ignore: $.at}, or a configuration"


def rules_in(file: Path, target: str | None = None) -> list[dict[str, Any]]:
    """Return the rules in a file: a list, a list under `rules`, or the rules of one target in a configuration.

    target: a target in the configuration; None for its only target. Raises: click.UsageError that names the file.
    """
    found = _read(str(file), file.read_bytes())
    if found is None:
        return []
    if not isinstance(found, dict):
        return _list(str(file), found)
    whole = cast("dict[str, Any]", found)
    return _list(str(file), _of_target(file, whole["targets"], target) if "targets" in whole else whole.get("rules"))


def rule_of(text: str) -> dict[str, Any]:
    """Return one rule from the command line. Raises: click.UsageError."""
    found = _read("RULE", text.encode())
    if not isinstance(found, dict):
        raise click.UsageError(f"RULE is {text!r}: write it as '{{ignore: $.path}}'")
    return cast("dict[str, Any]", found)


def _read(name: str, content: bytes) -> object:
    try:
        return read_value(name, content)[0]
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _of_target(file: Path, targets: object, name: str | None) -> object:
    """Return a target's rules as the file declares them; an empty list if the target has no rules."""
    listed = cast("list[object]", targets) if isinstance(targets, list) else []
    named = [cast("dict[str, Any]", one) for one in listed if isinstance(one, dict)]
    found = [one for one in named if name in (None, one.get("name"))]
    if not found:
        raise click.UsageError(f"{file} has no target" + ("" if name is None else f" {name!r}"))
    if len(found) > 1:
        raise click.UsageError(
            f"{file} has {len(found)} targets: write a file that contains only the rules of one target, as a list"
        )
    return found[0].get("rules") or []


def _list(name: str, found: object) -> list[dict[str, Any]]:
    rules = cast("list[object]", found) if isinstance(found, list) else None
    if rules is None or not all(isinstance(rule, dict) for rule in rules):
        raise click.UsageError(f"{name} has no rules: {_FORM}")
    return cast("list[dict[str, Any]]", rules)
