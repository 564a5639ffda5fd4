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

MOST_WORKERS = 64


@click.command(short_help="Run the service.")
@click.option(
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The YAML file. Left out: the one that SHADOWDIFF_CONFIG names, or SHADOWDIFF_… variables alone.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, MOST_WORKERS),
    default=1,
    show_default=True,
    help="Processes that share the ports; one per core is as many as help.",
)
@click.option("--control", type=int, hidden=True)
def command(path: Path | None, workers: int, control: int | None) -> None:
    """Run the service: take mirrored requests and recorded responses, pair, compare, count.

    SIGTERM stops it after a drain; SIGHUP reads the configuration anew, and keeps the old one where the new one is
    wrong. With several workers SIGHUP replaces them one by one where a setting needs a new process, and SIGUSR1
    replaces them in any case.
    """

    def load() -> Config:
        return load_config(path, os.environ)

    try:
        config = load()
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    from shadowdiff.service import run, run_workers

    if workers == 1 or control is not None:
        run(config, load=load, control=control)
        return
    file = [] if path is None else ["--config", str(path)]
    run_workers(config, load=load, workers=workers, command=[sys.executable, "-m", "shadowdiff", "serve", *file])
