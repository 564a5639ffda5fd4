"""Test ledger entries of exited processes: bounded in number, exact in sum."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from shadowdiff.model import Side
from shadowdiff.pairing import names
from shadowdiff.pairing.ledger import LedgerSync
from tests.integration.pairing.conftest import TARGET, Bench, observed, until

if TYPE_CHECKING:
    from shadowdiff.store import Store


async def ended(store: Store, name: str, ago_s: int) -> None:
    """Add the entry of a process that was last seen `ago_s` ago, with two requests in flight."""
    state = f"{int(time.time()) - ago_s} {json.dumps({TARGET: {'mirrored.in_flight': 2}})}"
    await store.command("HSET", store.keys.name(0, names.PROCESSES), name, state)


async def test_processes_that_ended_long_ago_are_merged_and_stay_in_the_ledger(bench: Bench) -> None:
    """Four of ten entries stay separate. Exits and in-flight counts add up as before, with running processes."""
    for number in range(10):
        await ended(bench.store, f"p{number}", 4000 + number)
    await ended(bench.store, "lately", 60)
    before = await bench.ledger()
    for name in ("at work", "too"):
        await ended(bench.store, name, 0)
    apart: list[int] = []
    for more in (None, None, "another"):
        if more:
            await ended(bench.store, more, 5000)
        assert 2 == await bench.store.run(names.FOLD_PROCESSES, 0, [names.PROCESSES], [4, 3600, 60 // 2])
        apart.append(int(await bench.store.command("HLEN", bench.store.keys.name(0, names.PROCESSES))))
    after = await bench.ledger()
    assert [8, 8, 8] == apart, "four dead, one recently, two running, and one for all others"
    assert (11, 22) == (before["unclean_exits"], before["mirrored"]["crashed"])
    assert (12, 24) == (after["unclean_exits"], after["mirrored"]["crashed"])
    assert before["balanced"]
    assert after["balanced"]


async def test_a_process_that_reports_again_is_no_longer_dead(bench: Bench) -> None:
    """The process was only paused, and takes back its in-flight requests."""
    keeper = LedgerSync(bench.store, "stopped", lambda: {TARGET: {"mirrored.in_flight": 2}})
    await keeper.sync()
    name = bench.store.keys.name(0, names.PROCESSES)
    stale = f"{int(time.time()) - 60} {json.dumps({TARGET: {'mirrored.in_flight': 2}})}"
    await bench.store.command("HSET", name, "stopped", stale)
    away = await bench.ledger()
    await keeper.sync()
    back = await bench.ledger()
    assert (1, 2, 0) == (away["unclean_exits"], away["mirrored"]["crashed"], away["mirrored"]["in_flight"])
    assert (0, 0, 2) == (back["unclean_exits"], back["mirrored"]["crashed"], back["mirrored"]["in_flight"])
    assert 2 == back["mirrored"]["received"]


async def test_a_process_that_exits_with_requests_in_flight_counts_as_crashed(bench: Bench) -> None:
    """In-flight requests of a dead process stay in the ledger. A process without such requests leaves no entry."""
    for process, levels in (("busy", {"mirrored.in_flight": 2}), ("idle", {"mirrored.in_flight": 0})):
        await LedgerSync(bench.store, process, lambda levels=levels: {TARGET: levels}).sync(leaving=True)
    await bench.store.command(
        "HSET",
        bench.store.keys.name(0, names.PROCESSES),
        "busy",
        f"0 {json.dumps({TARGET: {'mirrored.in_flight': 2}})}",
    )
    ledger = await bench.ledger()
    assert (1, 2) == (ledger["unclean_exits"], ledger["mirrored"]["crashed"])
    assert ledger["balanced"]


async def test_an_accepted_observation_is_counted_when_it_is_parked(bench: Bench) -> None:
    """Both happen in one call, so a crash loses no count. A control's response is not a separate request."""
    observations = [observed(Side.CANDIDATE), observed(Side.CONTROL), observed(Side.PRIMARY)]
    sinks = [bench.parker.sink("mirrored"), bench.parker.sink("mirrored"), bench.parker.sink("recorded")]
    for sink, observation in zip(sinks, observations, strict=True):
        assert sink(observation, bench.settled.append, 0.0)
    await until(lambda: len(bench.settled) == 3)
    ledger = await bench.ledger()
    assert (1, 1) == (ledger["mirrored"]["received"], ledger["mirrored"]["forwarded"])
    assert (1, 1) == (ledger["recorded"]["received"], ledger["recorded"]["accepted"])
    assert ledger["balanced"]
