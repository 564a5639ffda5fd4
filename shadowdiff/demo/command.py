"""`shadowdiff demo`: run a dark launch on this machine, either to watch it or to check its result.

Exit codes: 0 if the ledger balances and exactly the planted faults were found, 1 if not, 3 if the demo could not run,
130 if --once was interrupted.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.text import Text

from shadowdiff.demo.api import SAMPLES_AT_MOST
from shadowdiff.demo.environment import DemoOptions
from shadowdiff.demo.process import DemoError
from shadowdiff.demo.runner import run_demo
from shadowdiff.demo.terminal import problems_of, summary
from shadowdiff.service.background_tasks import single_errors

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

ONCE_REQUESTS = 5000
REQUESTS_AT_MOST = 50_000
RATE = 200.0
LEAST_WITH_CONTROL = 500
COULD_NOT_RUN = 3
INTERRUPTED = 130


@click.command(short_help="Run a demo on this machine.")
@click.option(
    "--once", is_flag=True, help="Send the requests, check whether shadowdiff found the planted faults, and exit."
)
@click.option(
    "--requests",
    type=click.IntRange(1, REQUESTS_AT_MOST),
    help=f"Number of requests, at most {REQUESTS_AT_MOST:,}. Default: {ONCE_REQUESTS:,} with --once, else unlimited.",
)
@click.option("--rate", type=click.FloatRange(1, 2000), default=RATE, show_default=True, help="Requests per second.")
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Seed of the random requests. The same seed sends the same requests.",
)
@click.option("--json", "as_json", is_flag=True, help="With --once: print the outcome as one JSON object.")
@click.option(
    "--keep-running", is_flag=True, help="With --once: keep the pages and the API running until you stop the demo."
)
@click.option("--any-port", is_flag=True, help="Use random free ports, even if the usual ones are free.")
@click.option("--control", is_flag=True, help="Use no rules, but a second v1 from which shadowdiff learns v1's noise.")
@click.option("--without-envoy", is_flag=True, help="Use a small Python proxy instead of Envoy.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep logs, journals and configuration in a new folder below this one.",
)
def command(
    *,
    once: bool,
    requests: int | None,
    rate: float,
    seed: int,
    as_json: bool,
    keep_running: bool,
    any_port: bool,
    control: bool,
    without_envoy: bool,
    folder: Path | None,
) -> None:
    """Run a demo on this machine: v1 serves users, and v2 receives a copy of each request and sometimes differs.

    A real Envoy mirrors and records, with the same files that you would deploy. v2 has planted faults at known rates.
    """
    if (as_json or keep_running) and not once:
        raise click.UsageError("--json and --keep-running need --once")
    if control and requests is not None and not LEAST_WITH_CONTROL <= requests <= SAMPLES_AT_MOST:
        least, most = f"{LEAST_WITH_CONTROL:,}", f"{SAMPLES_AT_MOST:,}"
        raise click.UsageError(f"--control needs at least {least} requests to learn from, and at most {most}")
    count = requests or (ONCE_REQUESTS if once else None)
    options = DemoOptions(
        once=once,
        count=count,
        rate=rate,
        seed=seed,
        samples=count or 1000,
        usual_ports=not any_port,
        envoy=not without_envoy,
        control=control,
    )
    console = Console(stderr=True, highlight=False)
    with _run_folder(folder) as run_folder:
        demo = _demo(run_folder, options, console, as_json=as_json, keep_running=keep_running)
        sys.exit(_run(demo, console, INTERRUPTED if once else 0))


async def _demo(folder: Path, options: DemoOptions, console: Console, *, as_json: bool, keep_running: bool) -> int:
    """Run until stopped, or once; then print the outcome, and return the exit code."""
    async with run_demo(folder, options, console) as result:
        click.echo(msgspec.json.encode(result.outcome) if as_json else "\n".join(summary(result)))
        for line in problems_of(result):
            console.print(Text.assemble(("wrong: ", "red"), line), soft_wrap=True)
        if keep_running:
            console.print("the demo keeps running; to stop it, press Ctrl-C")
            _ = await asyncio.Event().wait()
    return 0 if result.sound else 1


def _run(demo: Coroutine[None, None, int], console: Console, when_stopped: int) -> int:
    try:
        return asyncio.run(_until_stopped(demo, when_stopped))
    except* DemoError as problems:
        for problem in single_errors(problems):
            console.print(Text.assemble(("the demo cannot continue: ", "red"), str(problem)), soft_wrap=True)
    return COULD_NOT_RUN


async def _until_stopped(demo: Coroutine[None, None, int], when_stopped: int) -> int:
    """Run until the end, or until SIGINT or SIGTERM. In both cases, stop all parts that were started."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(demo)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:  # a second signal must not interrupt the shutdown
            stopped = True
            _ = task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not stopped:
            raise
        return when_stopped


@contextmanager
def _run_folder(parent: Path | None) -> Generator[Path]:
    """Yield a new folder for logs and journals: a temporary folder, or one in the given folder."""
    if parent is None:
        with TemporaryDirectory(prefix="shadowdiff-demo-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    else:
        parent.mkdir(parents=True, exist_ok=True)
        yield Path(mkdtemp(prefix="run-", dir=parent.resolve()))  # so that each demo has a separate store and journals
