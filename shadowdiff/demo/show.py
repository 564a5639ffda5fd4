"""Run the demo: set the scene, let users ask, show what is found, and judge it at the end.

In: how many requests, how fast, and what to show.  Out: an outcome, or a scene that runs until it is stopped.
Holds: what is said on the way goes to standard error; standard output is the outcome's alone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from rich.live import Live

from shadowdiff.demo.api import settled
from shadowdiff.demo.audit import Audit, Finding, Lost, Witnesses, audit, audit_noise
from shadowdiff.demo.leave import farewell
from shadowdiff.demo.pace import Pace
from shadowdiff.demo.scene import WINDOW_S, Scene, Wanted, scene
from shadowdiff.demo.shop import read_journal
from shadowdiff.demo.table import draw, progress
from shadowdiff.demo.traffic import Ask, Tally, asks, drive
from shadowdiff.web.words import short_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from pathlib import Path

    from rich.console import Console

    from shadowdiff.demo.api import Ledger

DRAW_S = 0.5
LINE_S = 3.0
SETTLE_WITHIN_S = WINDOW_S + 50.0
QUIET_S = 8.0
LEARNED_WITHIN_S = 30.0
POLL_S = 0.25


class NoiseOutcome(msgspec.Struct, frozen=True):
    """What the control showed: from how many triples, in which places (route, path, kind), what was left out."""

    learned_from: int
    triples: int
    left_out: int
    places: tuple[tuple[str, str, str], ...]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `demo --once` prints."""

    requests: int
    primary_errors: int
    ledger: dict[str, Any]
    found: tuple[Finding, ...]
    false_mismatches: int
    noise: NoiseOutcome | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and what was held against it."""

    outcome: Outcome
    audit: Audit
    tally: Tally
    lost: Lost

    @property
    def sound(self) -> bool:
        """Whether the books balance and every planted fault, and nothing else, was found."""
        return bool(self.outcome.ledger["balanced"]) and self.audit.sound


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What is to be played.

    count: None asks until stopped.
    """

    count: int | None
    rate: float
    seed: int
    wanted: Wanted

    def asked(self) -> Iterable[Ask]:
        """Return what users ask."""
        return islice(asks(self.seed), self.count)


@asynccontextmanager
async def stage(folder: Path, play: Play, console: Console) -> AsyncGenerator[Scene]:
    """Set the scene, say where everything is, and watch over it."""
    console.print("starting v1, v2, shadowdiff and Envoy …", style="dim")
    async with scene(folder, play.wanted) as here:
        _introduce(here, console)
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(here.watch())
            yield here
            _ = watch.cancel()


def _introduce(here: Scene, console: Console) -> None:
    """Say what runs where."""
    for name, port in here.moved.items():
        console.print(f"the usual port for {name} is taken: it is on {port}", style="yellow")
    if here.envoy is None:
        console.print(
            "no Envoy runs on this machine: a small Python tee mirrors and records in its place", style="yellow"
        )
    console.print(
        f"users ask   {here.url('users')}/   (through {'Envoy' if here.envoy else 'the tee'}, to v1)\n"
        f"pages, API  {here.url('web')}/   metrics {here.url('metrics')}/metrics\n"
        f"files       {here.folder}"
    )


async def run_live(folder: Path, play: Play, console: Console) -> None:
    """Play until stopped."""
    tally = Tally()
    async with (
        stage(folder, play, console) as here,
        farewell(here, tally, console),
        _shown(here, tally, play, console),
    ):
        await _users_ask(here, tally, play, play.asked(), keep=False)
        _ = await asyncio.Event().wait()


@asynccontextmanager
async def run_once(folder: Path, play: Play, console: Console) -> AsyncGenerator[Verdict]:
    """Play once and yield the verdict while everything still runs."""
    tally = Tally()
    async with stage(folder, play, console) as here:
        async with farewell(here, tally, console), _shown(here, tally, play, console):
            asked = iter(play.asked())
            if play.wanted.control and play.count:
                await _users_ask(here, tally, play, islice(asked, play.count // 2), keep=True)
                await _learned(here)
            await _users_ask(here, tally, play, asked, keep=True)
            _ = await _settle(here, tally)
        yield await judge(here, tally, control=play.wanted.control)


async def _users_ask(here: Scene, tally: Tally, play: Play, asked: Iterable[Ask], *, keep: bool) -> None:
    """Let users ask, no faster than what they cause is taken in."""
    pace = Pace(here.on_the_way)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(pace.follow())
        await drive(here.url("users"), tally, asked, rate=play.rate, keep=keep, pace=pace)
        _ = following.cancel()


async def _learned(here: Scene) -> None:
    """Wait until the noise is in force, so that what comes then is judged by it; the audit says where it never is."""
    deadline = time.monotonic() + LEARNED_WITHIN_S
    while (await here.api.target()).verdict.lack == "learning" and time.monotonic() < deadline:  # noqa: ASYNC110 - polls
        await asyncio.sleep(POLL_S)


async def _settle(here: Scene, tally: Tally) -> Ledger:
    """Wait for the last pair."""
    v1 = here.journal("v1")

    def arrived(ledger: Ledger) -> bool:
        records = len(v1.read_bytes().splitlines())
        return ledger.mirrored["received"] >= tally.sent and ledger.recorded["received"] >= records

    return await settled(here.api, arrived, within_s=SETTLE_WITHIN_S, quiet_s=QUIET_S, tell=lambda _: None)


async def judge(here: Scene, tally: Tally, *, control: bool = False) -> Verdict:
    """Read everything once more and hold it against each other."""
    ledger, raw, samples = await here.api.ledger(), await here.api.raw_ledger(), await here.api.samples()
    v1, v2 = read_journal(here.journal("v1")), read_journal(here.journal("v2"))
    lost = await here.lost()
    witnesses = Witnesses(tally, v1, v2, lost)
    shown: NoiseOutcome | None = None
    if control:
        noise, target = await here.api.noise(), await here.api.target()
        held = audit_noise(ledger, samples, witnesses, noise, target.verdict.top)
        places = tuple((one.route, one.path, one.kind) for one in noise.places if one.state == "noise")
        shown = NoiseOutcome(noise.learned_from, noise.triples, noise.left_out, places)
    else:
        held = audit(ledger, samples, witnesses)
    outcome = Outcome(tally.sent, tally.errors, raw, held.findings, held.false_mismatches, shown)
    return Verdict(outcome, held, tally, lost)


@asynccontextmanager
async def _shown(here: Scene, tally: Tally, play: Play, console: Console) -> AsyncGenerator[None]:
    """Show how far it is: a live table on a terminal, a line now and then elsewhere."""
    async with asyncio.TaskGroup() as group:
        painter = _paint if console.is_terminal else _say
        showing = group.create_task(painter(here, tally, play, console))
        yield
        _ = showing.cancel()


async def _paint(here: Scene, tally: Tally, play: Play, console: Console) -> None:
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while True:
            live.update(draw(await here.api.ledger(), await here.api.target(), progress(tally, play.count)))
            await asyncio.sleep(DRAW_S)


async def _say(here: Scene, tally: Tally, play: Play, console: Console) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(LINE_S)
        pairs = (await here.api.ledger()).pairs
        passed, sent = time.monotonic() - began, progress(tally, play.count)
        line = f"{passed:4.0f} s  {sent}; {pairs['ready']:,} pairs, {pairs['mismatch']:,} differ"
        console.print(line, soft_wrap=True)


def complaints(verdict: Verdict) -> list[str]:
    """Return what is wrong, a line each; nothing where all is well."""
    found = [] if verdict.outcome.ledger["balanced"] else ["the books do not balance"]
    found += [
        f"{one.fault}: planted {one.planted}, seen {one.seen}, unpaired {one.unpaired}"
        for one in verdict.audit.findings
        if not one.complete
    ]
    if verdict.audit.false_mismatches:
        found.append(f"{verdict.audit.false_mismatches} pairs differ where v2 planted nothing")
    return found + [
        f"{one.what}: {one.expected} by their own count, {one.actual} here" for one in verdict.audit.disagreements
    ]


def summary(verdict: Verdict) -> list[str]:
    """Return the outcome in words."""
    outcome, took = verdict.outcome, sorted(verdict.tally.latencies_ms)
    coverage, balanced = outcome.ledger["coverage"]["ratio"], outcome.ledger["balanced"]
    lines = [
        f"{outcome.requests:,} requests, {outcome.primary_errors:,} errors seen by users",
        f"users waited {_quantile(took, 0.5):.1f} ms (p50), {_quantile(took, 0.99):.1f} ms (p99)",
        f"coverage {coverage:.2%}, books {'balanced' if balanced else 'not balanced'}",
    ]
    lines += [f"{one.fault}: planted {one.planted}, seen {one.seen}, unpaired {one.unpaired}" for one in outcome.found]
    if verdict.lost != Lost():
        lost = f"{verdict.lost.copies} copies and {verdict.lost.records} records"
        lines.append(f"Envoy turned {lost} away at its own bounds: this machine could not follow")
    if outcome.noise is not None:
        noise = outcome.noise
        lines += [f"noise, learned from {noise.learned_from:,} triples: {noise.left_out:,} pairs left out"]
        lines += [f"  {route}  {short_path(path)}  {kind}" for route, path, kind in noise.places]
    return [*lines, f"false mismatches: {outcome.false_mismatches}"]


def _quantile(took: list[float], share: float) -> float:
    """Return a quantile of sorted values; 0 of none."""
    return took[min(len(took) - 1, int(share * len(took)))] if took else 0.0
