"""`shadowdiff serve`: load the configuration and run the service until a signal stops it.

Exits with 0 after a drain. If the configuration is invalid, prints one line for each error and exits with 2.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click

from shadowdiff.config import ConfigError, load_config

MOST_WORKERS = 64


@click.command(short_help="Run the service.")
@click.option(
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration. Default: the file in SHADOWDIFF_CONFIG, or no file, only SHADOWDIFF_… variables.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, MOST_WORKERS),
    default=1,
    show_default=True,
    help="Number of processes, which all accept requests on the same ports. Use at most one per core.",
)
@click.option("--control", type=int, hidden=True)
def command(path: Path | None, workers: int, control: int | None) -> None:
    """Run the service: receive mirrored requests and recorded responses, pair them, compare them, count the results.

    SIGTERM drains the service, then stops it. SIGHUP reloads the configuration; if it is invalid, the old configuration
    stays in use. With several workers, SIGHUP replaces the workers one by one if a setting needs a restart. SIGUSR1
    always replaces the workers.
    """
    load = partial(load_config, path, os.environ)
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
