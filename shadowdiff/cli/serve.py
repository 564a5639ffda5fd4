"""`shadowdiff serve`: load the configuration and run the service until it is told to stop.

In: a YAML file and SHADOWDIFF_… variables.  Out: exit 0 after a drained stop, 2 where the configuration is wrong,
with one line on standard error for each fault.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from shadowdiff.config import Config, ConfigError, load_config


@click.command(short_help="Run the service.")
@click.option(
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The YAML file. Left out: the one that SHADOWDIFF_CONFIG names, or SHADOWDIFF_… variables alone.",
)
def command(path: Path | None) -> None:
    """Run the service: take mirrored requests and recorded responses, pair, compare, count.

    SIGTERM stops it after a drain; SIGHUP reads the configuration anew, and keeps the old one where the new one is
    wrong.
    """

    def load() -> Config:
        return load_config(path, os.environ)

    try:
        config = load()
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    from shadowdiff.service import run

    run(config, load=load)
