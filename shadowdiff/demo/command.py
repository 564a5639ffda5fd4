"""`shadowdiff demo`: a dark launch on this machine, to watch or to check.

In: options.  Out: with --once one verdict on standard output and an exit code; else a table until it is stopped.
Holds: exit 0 only where the books balance, every planted fault was found and nothing else was; 1 where not,
3 where the demo itself could not run, 130 where --once was interrupted.
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
from shadowdiff.demo.process import DemoError
from shadowdiff.demo.scene import Wanted
from shadowdiff.demo.show import Play, Verdict, complaints, run_live, run_once, summary

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterator

ONCE_REQUESTS = 5000
REQUESTS_AT_MOST = 50_000
RATE = 200.0
LEAST_WITH_CONTROL = 500
COULD_NOT_RUN = 3
INTERRUPTED = 130


@click.command(short_help="Watch a dark launch on this machine.")
@click.option("--once", is_flag=True, help="Send so many requests, judge what was found, and end.")
@click.option(
    "--requests",
    type=click.IntRange(1, REQUESTS_AT_MOST),
    help=f"How many requests, {REQUESTS_AT_MOST:,} at most. Left out: {ONCE_REQUESTS:,} with --once, else without end.",
)
@click.option("--rate", type=click.FloatRange(1, 2000), default=RATE, show_default=True, help="Requests a second.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed draws the same requests.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print the outcome as one JSON object.")
@click.option("--keep-running", is_flag=True, help="With --once: keep pages and API up afterwards, until stopped.")
@click.option("--any-port", is_flag=True, help="Take free ports, even where 8080, 8081, 8082 and 9090 are free.")
@click.option("--control", is_flag=True, help="Have a second v1 show what is noise, in place of any rule.")
@click.option("--without-envoy", is_flag=True, help="Have the small Python tee stand in, as where no Envoy runs.")
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
    """Watch a dark launch on this machine: v1 answers users, v2 gets a copy of each request, and differs at times.

    A real Envoy mirrors and records, with the files that you would use; v2 has faults planted at known rates.
    """
    if (as_json or keep_running) and not once:
        raise click.UsageError("--json and --keep-running go with --once")
    if control and requests is not None and not LEAST_WITH_CONTROL <= requests <= SAMPLES_AT_MOST:
        least, most = f"{LEAST_WITH_CONTROL:,}", f"{SAMPLES_AT_MOST:,}"
        raise click.UsageError(f"--control goes with {least} (to learn from) to {most} requests (all are sampled)")
    count = requests or (ONCE_REQUESTS if once else None)
    wanted = Wanted(
        samples=count or 1000, journals=once, usual_ports=not any_port, envoy=not without_envoy, control=control
    )
    play = Play(count=count, rate=rate, seed=seed, wanted=wanted)
    console = Console(stderr=True, highlight=False)
    with _place(folder) as place:
        if once:
            sys.exit(
                _run(_once(place, play, console, as_json=as_json, keep_running=keep_running), console, INTERRUPTED)
            )
        sys.exit(_run(_live(place, play, console), console, 0))


async def _live(place: Path, play: Play, console: Console) -> int:
    """Play until stopped."""
    await run_live(place, play, console)
    return 0


async def _once(place: Path, play: Play, console: Console, *, as_json: bool, keep_running: bool) -> int:
    """Play once, print the outcome, and return the exit code that it deserves."""
    async with run_once(place, play, console) as verdict:
        _report(verdict, console, as_json=as_json)
        if keep_running:
            console.print("everything keeps running; Ctrl-C ends it")
            _ = await asyncio.Event().wait()
    return 0 if verdict.sound else 1


def _report(verdict: Verdict, console: Console, *, as_json: bool) -> None:
    """Print the outcome: as JSON for machines, else as lines."""
    if as_json:
        click.echo(msgspec.json.encode(verdict.outcome))
    else:
        for line in summary(verdict):
            click.echo(line)
    for line in complaints(verdict):
        console.print(Text.assemble(("wrong: ", "red"), line), soft_wrap=True)


def _run(playing: Coroutine[None, None, int], console: Console, when_stopped: int) -> int:
    """Run to the end, and return the exit code."""
    try:
        return asyncio.run(_until_stopped(playing, when_stopped))
    except* DemoError as problems:
        for problem in _leaves(problems):
            console.print(Text.assemble(("the demo cannot go on: ", "red"), str(problem)), soft_wrap=True)
    return COULD_NOT_RUN


def _leaves(group: BaseExceptionGroup[DemoError]) -> Iterator[DemoError]:
    """Return the errors of a group, however deep."""
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


async def _until_stopped(playing: Coroutine[None, None, int], when_stopped: int) -> int:
    """Run until the end, or until SIGINT or SIGTERM; either way everything that was started is stopped."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(playing)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:  # impatience must not cut the stopping short
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
def _place(folder: Path | None) -> Generator[Path]:
    """Give a folder for logs and journals: the user's own, which stays, or one that goes."""
    if folder is None:
        with TemporaryDirectory(prefix="shadowdiff-demo-", ignore_cleanup_errors=True) as place:
            yield Path(place)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield Path(mkdtemp(prefix="run-", dir=folder.resolve()))  # an earlier run's store and journals are its own
