"""Redis goes, hangs, slows down or is full under load: memory is bounded, every loss has its reason, no port waits.

The senders' answers are held against the ledger at the end: nothing is missing, nothing is there twice.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from shadowdiff.pairing import names
from tests.faults.load import MIRRORED, RECORDED, SHED, TAKEN, Load, sent
from tests.integration.service.conftest import JSON, World, balanced_and_still, serving, settings, target
from tests.integration.service.redis_link import runs
from tests.integration.service.scripts import response, says, v2
from tests.running import Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import Ask, RedisLink, Words

DIFFERS = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")
QUEUE = 100
"""Observations that may wait for the store: few, so that a short outage already sheds."""
BEFORE, SHEDS = 50, 100
GROWS_AT_MOST_MIB = 64
GONE_S = [pytest.param(1, id="quick"), pytest.param(30, marks=[pytest.mark.deep, pytest.mark.timeout(300)], id="deep")]
SLOW_S = 0.1


def _config(url: str, port: int, **pairing: str) -> dict[str, Any]:
    config = settings(url, target(port), pairing={"window": "4s", "claim_idle": "1s", **pairing})
    config["store"]["queue"] = QUEUE
    return config


async def _compares(world: World) -> int:
    """Wait until a new pair was compared; return how many records it took until one was not shed."""
    before = (await world.service.until(lambda _: True))["pairs"]["match"]
    ids = await sent(world, f"back-{time.monotonic_ns()}", b'{"side": "v2"}')
    await world.service.until(lambda books: books["pairs"]["match"] > before)
    return len(ids)


@pytest.mark.parametrize("gone_s", GONE_S)
@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_redis_is_gone_under_load(
    link: RedisLink,
    own_redis: OwnRedis,
    tmp_path: Path,
    how: str,
    gone_s: int,
    *,
    record_property: Callable[[str, object], None],
) -> None:
    """What finds no room is shed and counted, what was taken is parked later, and new pairs are compared at once."""
    async with v2(says(DIFFERS)) as port, serving(tmp_path, _config(link.url, port)) as world:
        load = Load(world)
        async with load.running():
            await world.service.until(lambda books: books["pairs"]["mismatch"] >= BEFORE)
            before_mib, slowest_s = world.service.peak_mib(), load.slowest_s
            (own_redis.pause() if how == "hangs" else await link.down())
            end_s = time.monotonic() + gone_s
            await load.until(lambda: load.answers[RECORDED, SHED] >= SHEDS and time.monotonic() > end_s)
            assert world.service.answers("metrics", "/readyz")
            assert world.service.answers("metrics", "/healthz")
            (own_redis.resume() if how == "hangs" else await link.up())
            taken, back_at_s = load.answers[RECORDED, TAKEN], time.monotonic()
            await load.until(lambda: load.answers[RECORDED, TAKEN] > taken)
            takes_after_s = time.monotonic() - back_at_s
        tries = await _compares(world)
        compares_after_s = time.monotonic() - back_at_s
        load.answers.update({(RECORDED, SHED): tries - 1, (RECORDED, TAKEN): 1, (MIRRORED, TAKEN): 1})
        books = await load.books()
        grown_mib = world.service.peak_mib() - before_mib
    assert books["mirrored"]["store_lost"] > 0
    assert 0 == books["mirrored"]["shed"]
    assert 0 == books["unclean_exits"]
    assert grown_mib < GROWS_AT_MOST_MIB
    record_property(
        "figures",
        f"{books['recorded']['shed']} records shed, {books['mirrored']['store_lost']} answers of v2 lost of"
        f" {books['mirrored']['received']} pairs; takes again after {takes_after_s:.1f} s, compares a new pair"
        f" after {compares_after_s:.1f} s; slowest answer {load.slowest_s * 1000:.0f} ms"
        f" ({slowest_s * 1000:.0f} ms before), {grown_mib} MiB more memory",
    )


async def test_redis_is_slow(link: RedisLink, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Each command takes 100 ms more: nothing is lost, ports answer as before, and all is compared, if later."""

    async def slow(_words: Words, ask: Ask) -> bytes | None:
        await asyncio.sleep(SLOW_S)
        return await ask()

    config = _config("", 1, window="20s", claim_idle="5s")
    config["store"] = {"url": link.url}
    async with v2(says(DIFFERS)) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            load = Load(world)
            async with load.running():
                await load.until(lambda: load.answers[RECORDED, TAKEN] >= BEFORE)
                before_mib, before_s = world.service.peak_mib(), load.slowest_s
                calls, link.on_call = link.calls, slow
                await load.until(lambda: link.calls > calls + 50)
                assert world.service.answers("metrics", "/readyz")
            books = await load.books()
            grown_mib = world.service.peak_mib() - before_mib
    assert (0, 0) == (books["recorded"]["shed"], books["mirrored"]["store_lost"])
    assert books["pairs"]["mismatch"] == load.answers[RECORDED, TAKEN] == load.answers[MIRRORED, TAKEN]
    assert grown_mib < GROWS_AT_MOST_MIB
    record_property(
        "figures",
        f"{books['pairs']['mismatch']} pairs, none lost; slowest answer {load.slowest_s * 1000:.0f} ms"
        f" ({before_s * 1000:.0f} ms before), {grown_mib} MiB more memory",
    )


class HoldsCommits:
    """Stands in the link and lets no commit through, so that ready pairs stay claimed and unfinished."""

    def __init__(self) -> None:
        self.is_on = True
        self.held = 0

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Pass everything else."""
        if self.is_on and runs(words, names.COMMIT):
            self.held += 1
            await asyncio.Event().wait()
        return await ask()


def _bounded(redis: OwnRedis, more_bytes: int | None) -> None:
    """Give Redis so much room beyond what it holds; None: any."""
    client: Any = Redis(port=redis.port)
    with client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 0 if more_bytes is None else used + more_bytes)


async def test_redis_is_full(
    link: RedisLink, own_redis: OwnRedis, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Records are shed, ports answer; what had been accepted is judged by another process, under other rules even.

    That process starts while the store is full, and must claim and commit to empty it.
    """
    holds = HoldsCommits()
    link.on_call = holds.on_call
    async with v2(says(DIFFERS)) as port:
        service = Service(tmp_path, _config(link.url, port))
        await asyncio.to_thread(service.start)
        try:
            async with mesh_of(service) as mesh:
                world = World(service, mesh)
                for number in range(BEFORE):
                    await world.both(f"ready-{number}", b'{"side": "v1"}')
                await service.until(lambda books: books["pairs"]["pending"] == BEFORE)
                before_mib = service.peak_mib()
                await asyncio.to_thread(_bounded, own_redis, 1 << 20)
                load = Load(world, body=os.urandom(10_000))
                async with load.running():
                    await load.until(lambda: load.answers[RECORDED, SHED] >= SHEDS)
                    assert service.answers("metrics", "/readyz")
                told = {row: BEFORE + load.told(row) for row in (MIRRORED, RECORDED)}
                await service.until(lambda books: all(books[row]["received"] == told[row] for row in told))
                grown_mib = service.peak_mib() - before_mib
                assert "OOM" in service.log
                await asyncio.to_thread(service.stop, signal.SIGKILL)
                await asyncio.to_thread(_bounded, own_redis, -1024)
                holds.is_on = False
                service.config["targets"] = [target(port, rules=[{"ignore": "$.side", "reason": "it says who it is"}])]
                await asyncio.to_thread(service.start)
                await service.until(lambda books: books["pairs"]["ignored"] >= BEFORE, within_s=40)
                await asyncio.to_thread(_bounded, own_redis, None)
                room_s = time.monotonic()
                more = await _compares(world)
                after_s = time.monotonic() - room_s
                books = await service.until(balanced_and_still, within_s=40)
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop)
    for row, side, taken in ((MIRRORED, "candidate", "forwarded"), (RECORDED, "primary", "accepted")):
        assert books[row][taken] == books["observations"][side]["parked"]
        assert told[row] + (more if row == RECORDED else 1) == books[row]["received"]
    # What the killed process had taken and not yet parked shows as such.
    assert 1 <= books["mirrored"]["crashed"] + books["recorded"]["crashed"] <= QUEUE
    assert load.answers[RECORDED, SHED] + more - 1 == books["recorded"]["shed"]
    assert 1 == books["unclean_exits"]
    assert grown_mib < GROWS_AT_MOST_MIB
    record_property(
        "figures",
        f"{load.answers[RECORDED, SHED]} records shed, {BEFORE} accepted pairs judged while it was full; a new pair"
        f" is compared {after_s:.1f} s after there was room; slowest answer {load.slowest_s * 1000:.0f} ms,"
        f" {grown_mib} MiB more memory",
    )
