"""`shadowdiff check-config`: print the effective settings; print warnings and errors to standard error."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from shadowdiff.config import ConfigError
from shadowdiff.config.load import load
from shadowdiff.config.schema import config_schema, effective_yaml
from shadowdiff.config.sent import sent_comments


@click.command(short_help="Check a configuration and print its effective settings.")
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--config", "option", metavar="FILE", type=click.Path(path_type=Path), help="The configuration.")
@click.option("--strict", is_flag=True, help="Exit with 1 if there are warnings.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors, and exit.")
def command(path: Path | None, option: Path | None, *, strict: bool, schema: bool) -> None:
    """Check FILE, or the file that SHADOWDIFF_CONFIG names, together with the SHADOWDIFF_… environment variables.

    Prints all effective settings without passwords, and what v2 is sent on each route. Warnings and errors go to
    standard error, one per line. Exits with 0 if the settings are valid, 1 if there are warnings
    and --strict is given, and 2 if there are errors.
    """
    if path and option and path != option:
        raise click.UsageError(f"FILE is {path} and --config is {option}: use only one of them")
    if schema:
        click.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))
        return
    try:
        root, config = load(path or option, os.environ)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    click.echo(effective_yaml(root), nl=False)
    for line in sent_comments(each.target for each in config.targets):
        click.echo(line)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    sys.exit(1 if strict and config.warnings else 0)
