"""`shadowdiff check-config`: say what a configuration comes to, and what in it cannot work.

In: a YAML file and SHADOWDIFF_… variables.  Out: the effective configuration on standard output, warnings and errors
on standard error, one a line. Exit 0: usable; 1: warnings, with --strict; 2: errors.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from shadowdiff.config import ConfigError
from shadowdiff.config.effective import effective_yaml
from shadowdiff.config.load import load
from shadowdiff.config.schema import config_schema


@click.command(short_help="Check a configuration and print what it comes to.")
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--config", "option", metavar="FILE", type=click.Path(path_type=Path), help="The same as FILE.")
@click.option("--strict", is_flag=True, help="Exit with 1 where there are warnings.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the file, for editors, and exit.")
def command(path: Path | None, option: Path | None, *, strict: bool, schema: bool) -> None:
    """Check FILE, or the one that SHADOWDIFF_CONFIG names, together with SHADOWDIFF_… variables.

    Prints every setting as it takes effect, with passwords left out. Exit 0: usable; 1: warnings, with --strict;
    2: errors, one line each.
    """
    if schema:
        click.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))
        return
    try:
        root, config = load(path or option, os.environ)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    click.echo(effective_yaml(root), nl=False)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    sys.exit(1 if strict and config.warnings else 0)
