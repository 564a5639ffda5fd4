"""Run the demo: start everything, let users send requests, show progress, and check the result.

Progress goes to standard error. Only the outcome goes to standard output.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING

from rich.live import Live

from shadowdiff.demo.api import wait_settled
from shadowdiff.demo.audit import Evidence, NoiseOutcome, Outcome, Result, audit, audit_noise
from shadowdiff.demo.environment import WINDOW_S, run_environment
from shadowdiff.demo.shop import read_journal
from shadowdiff.demo.terminal import live_table, print_result_on_stop, progress
from shadowdiff.demo.traffic import Throttle, UserCounts, UserRequest, random_requests, send_requests

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable
    from pathlib import Path

    from rich.console import Console

    from shadowdiff.demo.api import Ledger
    from shadowdiff.demo.environment import DemoOptions, Environment

REDRAW_S = 0.5
LINE_S = 3.0
SETTLE_WITHIN_S = WINDOW_S + 50.0
QUIET_S = 8.0
LEARNED_WITHIN_S = 30.0
POLL_S = 0.25


@asynccontextmanager
async def _during_block(work: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Run `work` while the block runs. If `work` fails, the block ends."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield
        _ = task.cancel()


def _print_addresses(environment: Environment, console: Console) -> None:
    for name, port in environment.moved.items():
        console.print(f"the usual port for {name} is in use: using {port}", style="yellow")
    if environment.is_in_memory:
        console.print("there is no Redis on this machine: the store is in memory, nothing is kept", style="yellow")
    if environment.envoy is None:
        console.print(
            "there is no Envoy on this machine: a small Python proxy mirrors and records instead", style="yellow"
        )
    console.print(
        f"users       {environment.url('users')}/   (through {'Envoy' if environment.envoy else 'the proxy'}, to v1)\n"
        f"pages, API  {environment.url('web')}/   metrics {environment.url('metrics')}/metrics\n"
        f"files       {environment.folder}"
    )


@asynccontextmanager
async def run_demo(folder: Path, options: DemoOptions, console: Console) -> AsyncGenerator[Result]:
    """Run the demo, and yield the result before the parts stop. Without `options.once`, run until stopped."""
    counts = UserCounts()
    show = _redraw_table if console.is_terminal else _print_lines
    console.print("starting v1, v2, shadowdiff and Envoy …", style="dim")
    async with run_environment(folder, options) as environment, _during_block(environment.watch()):
        _print_addresses(environment, console)
        async with (
            print_result_on_stop(environment, counts, console),
            _during_block(show(environment, counts, options, console)),
        ):
            requests = islice(random_requests(options.seed), options.count)
            if options.once and options.control and options.count:
                await _send(environment, counts, options, islice(requests, options.count // 2))
                await _wait_learned(environment)
            await _send(environment, counts, options, requests)
            if not options.once:
                _ = await asyncio.Event().wait()
            await _wait_settled(environment, counts)
        yield await _check(environment, counts, control=options.control)


async def _send(
    environment: Environment, counts: UserCounts, options: DemoOptions, requests: Iterable[UserRequest]
) -> None:
    """Send requests, but not faster than the machine can handle."""
    throttle = Throttle(environment.in_flight)
    async with _during_block(throttle.watch()):
        await send_requests(environment.url("users"), counts, requests, options.rate, throttle)


async def _wait_learned(environment: Environment) -> None:
    """Wait until the noise is in force. If that takes too long, stop waiting; the audit reports it."""
    deadline = time.monotonic() + LEARNED_WITHIN_S
    while (await environment.api.target()).verdict.insufficient_reason == "learning" and time.monotonic() < deadline:  # noqa: ASYNC110 - polls
        await asyncio.sleep(POLL_S)


async def _wait_settled(environment: Environment, counts: UserCounts) -> None:
    journal = environment.journal("v1")

    def arrived(ledger: Ledger) -> bool:
        records = len(journal.read_bytes().splitlines())
        return ledger.mirrored["received"] >= counts.sent and ledger.recorded["received"] >= records

    _ = await wait_settled(environment.api, arrived, within_s=SETTLE_WITHIN_S, quiet_s=QUIET_S)


async def _check(environment: Environment, counts: UserCounts, *, control: bool) -> Result:
    api = environment.api
    ledger, raw_ledger, samples = await api.ledger(), await api.raw_ledger(), await api.samples()
    v1, v2 = read_journal(environment.journal("v1")), read_journal(environment.journal("v2"))
    evidence = Evidence(counts, v1, v2, await environment.drops())
    noise_outcome: NoiseOutcome | None = None
    if control:
        noise, target = await api.noise(), await api.target()
        audited = audit_noise(ledger, samples, evidence, noise, target.verdict.top)
        places = tuple((one.route, one.path, one.kind) for one in noise.places if one.state == "noise")
        noise_outcome = NoiseOutcome(noise.learned_from, noise.triples, noise.excluded, places)
    else:
        audited = audit(ledger, samples, evidence)
    outcome = Outcome(counts.sent, counts.errors, raw_ledger, audited.faults, audited.false_mismatches, noise_outcome)
    return Result(outcome, audited, counts, evidence.drops)


async def _redraw_table(environment: Environment, counts: UserCounts, options: DemoOptions, console: Console) -> None:
    api = environment.api
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            live.update(live_table(await api.ledger(), await api.target(), progress(counts, options.count)))
            await asyncio.sleep(REDRAW_S)


async def _print_lines(environment: Environment, counts: UserCounts, options: DemoOptions, console: Console) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(LINE_S)
        pairs = (await environment.api.ledger()).pairs
        passed_s, sent = time.monotonic() - began, progress(counts, options.count)
        line = f"{passed_s:4.0f} s  {sent}; {pairs['ready']:,} pairs, {pairs['mismatch']:,} differ"
        console.print(line, soft_wrap=True)
