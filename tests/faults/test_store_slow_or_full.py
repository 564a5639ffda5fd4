"""Redis is slow or full under load: memory is bounded, accepted pairs are compared, the rest is shed and counted.

At the end the ledger is checked against the senders' responses, and the samples against the ids in Redis.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest

from shadowdiff.pairing import names
from tests.faults.audit import EVERY_SAMPLE, SIDES, audit
from tests.faults.load import GROWS_AT_MOST_MIB, MIRRORED, RECORDED, SHED, SHED_AT_LEAST, TAKEN, Load, large, sheds
from tests.faults.outage import give_room, slow
from tests.integration.service.conftest import JSON, World, balanced_and_still, serving, settings, target
from tests.integration.service.redis_link import runs
from tests.integration.service.scripts import always, response, v2
from tests.running import Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import Ask, RedisLink, Words

QUEUE = 100
BEFORE = 50
READY_WITHIN_S = 60.0
SLOW_CALLS = [
    pytest.param(50, id="quick"),
    pytest.param(750, marks=[pytest.mark.deep, pytest.mark.timeout(480)], id="deep"),
]
"""Calls that are delayed, several of them at the same time."""


@pytest.mark.parametrize("calls", SLOW_CALLS)
async def test_redis_is_slow(
    link: RedisLink, tmp_path: Path, calls: int, record_property: Callable[[str, object], None]
) -> None:
    """If each command takes 100 ms longer, no pair is lost, ports respond as before, and all pairs are compared."""
    answer = b'{"side": "v2"}'
    config = settings(link.url, samples=EVERY_SAMPLE)
    async with v2(always(response(answer, "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            load = Load(world, pace_s=0.02, body=b'{"side": "v1"}')
            async with load.running():
                await load.until(lambda: load.answers[RECORDED, TAKEN] >= BEFORE)
                before_mib, before_s = world.service.peak_mib(), load.slowest_s
                before, link.on_call = link.calls, slow
                begun_s = time.monotonic()
                await load.until(lambda: link.calls > before + calls, within_s=200)
                slow_for_s = time.monotonic() - begun_s
                assert world.service.answers("metrics", "/readyz")
            books = await load.books()
            grown_mib = world.service.peak_mib() - before_mib
            await audit(world, link, books)
    assert (0, 0, 0) == (books["recorded"]["shed"], books["mirrored"]["shed"], books["mirrored"]["store_lost"])
    assert books["pairs"]["mismatch"] == load.answers[RECORDED, TAKEN] == load.answers[MIRRORED, TAKEN]
    assert grown_mib < GROWS_AT_MOST_MIB
    record_property(
        "figures",
        f"slow for {slow_for_s:.0f} s: {books['pairs']['mismatch']} pairs, none lost; slowest answer"
        f" {load.slowest_s * 1000:.0f} ms ({before_s * 1000:.0f} ms before), {grown_mib} MiB more memory",
    )


class HoldsCommits:
    """Holds back commits, so ready pairs stay claimed and unfinished."""

    def __init__(self) -> None:
        self.free = asyncio.Event()

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Hold back commits, and pass every other call to Redis."""
        if runs(words, names.COMMIT):
            await self.free.wait()
        return await ask()


async def _fill(service: Service, load: Load, redis: OwnRedis) -> int:
    """Accept pairs that wait for commits, fill Redis, and shed; return the service's earlier peak memory in MiB."""
    for number in range(BEFORE):
        await load.pair(f"ready-{number}", load.body)
        if number % 10 == 0:  # without this pause the small queue would shed pairs
            await service.until(lambda books, number=number: books["pairs"]["ready"] > number)
    await service.until(lambda books: books["pairs"]["pending"] == BEFORE)
    before_mib = service.peak_mib()
    await asyncio.to_thread(give_room, redis, 1 << 20)
    async with load.running():
        await load.until(lambda: load.answers[RECORDED, SHED] >= SHED_AT_LEAST)
        assert service.answers("metrics", "/readyz")
        assert service.answers("metrics", "/healthz")
    assert "OOM" in service.log
    return before_mib


@pytest.mark.timeout(480)
async def test_redis_is_full(
    link: RedisLink, own_redis: OwnRedis, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Accepted pairs are compared while Redis is full.

    When Redis has room again, the same process compares new pairs.
    """
    holds = HoldsCommits()
    link.on_call = holds.on_call
    answer = large("v2")
    config = settings(link.url, store={"queue": QUEUE}, pairing={"window": "20s"}, samples=EVERY_SAMPLE)
    async with v2(always(response(answer, "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            service = world.service
            load = Load(world, body=large("v1"))
            before_mib = await _fill(service, load, own_redis)
            await asyncio.to_thread(give_room, own_redis, -1024)
            holds.free.set()
            await service.until(lambda books: books["pairs"]["mismatch"] >= BEFORE)
            await asyncio.to_thread(give_room, own_redis, None)
            room_s = time.monotonic()
            async with asyncio.timeout(READY_WITHIN_S):
                assert await asyncio.to_thread(service.answers, "metrics", "/readyz")
            await load.compared(answer)
            after_s = time.monotonic() - room_s
            books = await load.books()
            grown_mib = service.peak_mib() - before_mib
            await audit(world, link, books)
            reasons = await sheds(world)
    assert reasons["overload"] > 0
    assert 0 == books["unclean_exits"] == books["mirrored"]["crashed"] == books["recorded"]["crashed"]
    assert grown_mib < GROWS_AT_MOST_MIB
    record_property(
        "figures",
        f"of {books['mirrored']['received']} pairs of {len(answer) >> 10} KiB each, {books['recorded']['shed']} records"
        f" and {books['mirrored']['shed']} requests shed {dict(reasons)}, {books['mirrored']['store_lost']} answers of"
        f" v2 lost; {BEFORE} accepted pairs judged while it was full; a new pair is compared {after_s:.1f} s after"
        f" there was room; slowest answer {load.slowest_s * 1000:.0f} ms, {grown_mib} MiB more memory",
    )


@pytest.mark.timeout(480)
async def test_a_process_that_starts_while_redis_is_full_empties_it(
    link: RedisLink, own_redis: OwnRedis, tmp_path: Path
) -> None:
    """A process that starts while Redis is full compares the pairs of a dead process, even under other rules."""
    holds = HoldsCommits()
    link.on_call = holds.on_call
    answer = b'{"side": "v2"}'
    config = settings(link.url, store={"queue": QUEUE}, pairing={"window": "4s", "claim_idle": "1s"})
    async with v2(always(response(answer, "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port)]
        service = Service(tmp_path, config)
        await asyncio.to_thread(service.start)
        try:
            async with mesh_of(service) as mesh:
                load = Load(World(service, mesh), body=large("v1"))
                await _fill(service, load, own_redis)
                answered = {row: load.answered_count(row) for row in SIDES}
                await service.until(lambda books: all(books[row]["received"] == answered[row] for row in answered))
                held = await asyncio.to_thread(service.ledger)
                await asyncio.to_thread(service.stop, signal.SIGKILL)
                await asyncio.to_thread(give_room, own_redis, -1024)
                holds.free.set()
                rule = {"ignore": "$", "reason": "it says who it is"}
                service.config["targets"] = [target(port, rules=[rule])]
                await asyncio.to_thread(service.start)
                await service.until(lambda books: books["pairs"]["ignored"] >= BEFORE)
                await asyncio.to_thread(give_room, own_redis, None)
                await load.compared(answer)
                books = await service.until(balanced_and_still)
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop)
    for row, side in SIDES.items():
        taken = books[row]["forwarded" if row == MIRRORED else "accepted"]
        assert taken == books["observations"][side]["parked"] == len(link.accepted[side])
        assert load.answered_count(row) == books[row]["received"]
        # The ledger shows the requests that the killed process had accepted but not yet stored.
        assert held[row]["in_flight"] == books[row]["crashed"]
    assert 1 <= books["mirrored"]["crashed"] + books["recorded"]["crashed"] <= QUEUE
    assert load.answers[RECORDED, SHED] == books["recorded"]["shed"]
    assert 1 == books["unclean_exits"]
