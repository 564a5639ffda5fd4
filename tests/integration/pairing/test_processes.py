"""The books of processes that ended: bounded in number, exact in sum."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from shadowdiff.model import Side
from shadowdiff.pairing import BookKeeper, names
from tests.integration.pairing.conftest import TARGET, Bench, observed, until

if TYPE_CHECKING:
    from shadowdiff.store import Store


async def ended(store: Store, name: str, ago_s: int) -> None:
    """Leave the entry of a process that was last heard of `ago_s` ago, with two requests in flight."""
    state = f"{int(time.time()) - ago_s} {json.dumps({TARGET: {'mirrored.in_flight': 2}})}"
    await store.command("HSET", store.keys.name(0, names.PROCESSES), name, state)


async def test_processes_that_ended_long_ago_are_folded_and_stay_in_the_books(bench: Bench) -> None:
    """Of ten, four stay apart, exits and what was in flight add up as before, and who is at work is counted."""
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
        assert 2 == await bench.store.run(names.FOLD, 0, [names.PROCESSES], [4, 3600, 60 // 2])
        apart.append(int(await bench.store.command("HLEN", bench.store.keys.name(0, names.PROCESSES))))
    after = await bench.ledger()
    assert [8, 8, 8] == apart, "four dead, one lately, two at work, and one that stands for the others"
    assert (11, 22) == (before["unclean_exits"], before["mirrored"]["crashed"])
    assert (12, 24) == (after["unclean_exits"], after["mirrored"]["crashed"])
    assert before["balanced"]
    assert after["balanced"]


async def test_a_process_that_is_heard_of_again_is_no_longer_dead(bench: Bench) -> None:
    """One that was only stopped takes back what it seemed to have lost."""
    keeper = BookKeeper(bench.store, "stopped", lambda: {TARGET: {"mirrored.in_flight": 2}})
    await keeper.tell()
    name = bench.store.keys.name(0, names.PROCESSES)
    stale = f"{int(time.time()) - 60} {json.dumps({TARGET: {'mirrored.in_flight': 2}})}"
    await bench.store.command("HSET", name, "stopped", stale)
    away = await bench.ledger()
    await keeper.tell()
    back = await bench.ledger()
    assert (1, 2, 0) == (away["unclean_exits"], away["mirrored"]["crashed"], away["mirrored"]["in_flight"])
    assert (0, 0, 2) == (back["unclean_exits"], back["mirrored"]["crashed"], back["mirrored"]["in_flight"])
    assert 2 == back["mirrored"]["received"]


async def test_a_process_that_leaves_with_requests_in_flight_does_not_leave_cleanly(bench: Bench) -> None:
    """They stay in the books as crashed; one that leaves with nothing leaves no trace."""
    for process, levels in (("busy", {"mirrored.in_flight": 2}), ("idle", {"mirrored.in_flight": 0})):
        await BookKeeper(bench.store, process, lambda levels=levels: {TARGET: levels}).tell(leaving=True)
    await bench.store.command(
        "HSET",
        bench.store.keys.name(0, names.PROCESSES),
        "busy",
        f"0 {json.dumps({TARGET: {'mirrored.in_flight': 2}})}",
    )
    ledger = await bench.ledger()
    assert (1, 2) == (ledger["unclean_exits"], ledger["mirrored"]["crashed"])
    assert ledger["balanced"]


async def test_what_is_accepted_enters_its_row_in_the_call_that_parks_it(bench: Bench) -> None:
    """No process need live on for it; a control's answer is no request of its own."""
    observations = [observed(Side.CANDIDATE), observed(Side.CONTROL), observed(Side.PRIMARY)]
    sinks = [bench.parker.sink("mirrored"), bench.parker.sink("mirrored"), bench.parker.sink("recorded")]
    for sink, observation in zip(sinks, observations, strict=True):
        assert sink(observation, bench.settled.append, 0.0)
    await until(lambda: len(bench.settled) == 3)
    ledger = await bench.ledger()
    assert (1, 1) == (ledger["mirrored"]["received"], ledger["mirrored"]["forwarded"])
    assert (1, 1) == (ledger["recorded"]["received"], ledger["recorded"]["accepted"])
    assert ledger["balanced"]
