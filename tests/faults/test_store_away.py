"""The service keeps running while its store is unavailable, and loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from shadowdiff.pairing import names
from tests.faults.audit import EVERY_SAMPLE, audit
from tests.faults.load import MIRRORED, RECORDED, SHED, Load
from tests.faults.moments import Moments
from tests.faults.outage import made_durable
from tests.integration.service.conftest import JSON, World, serving, settings, target
from tests.integration.service.redis_link import runs
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import Ask, RedisLink, Words

PAIRS = 60
CALL_S = 0.002
"""About as long as a call to a durable Redis takes."""
SCRIPTS = {"park": names.PARK, "commit": names.COMMIT}
DEATH_KINDS = list(itertools.product(SCRIPTS, ("before", "while", "after")))
DEATHS = [
    pytest.param(len(DEATH_KINDS), id="quick"),
    pytest.param(20, marks=[pytest.mark.deep, pytest.mark.timeout(900)], id="deep"),
]
ANSWER = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")
PATIENT = {"window": "60s", "claim_idle": "3s"}


async def _send(world: World, first: int, pairs: int = PAIRS) -> None:
    for number in range(first, first + pairs):
        await world.both(f"pair-{number}", b'{"side": "v1"}')


async def _each_once(world: World, pairs: int) -> None:
    found = Counter(sample["request_id"] for sample in await world.samples())
    assert Counter({f"pair-{number}": 1 for number in range(pairs)}) == found


async def test_redis_absent_at_start(own_redis: OwnRedis, tmp_path: Path) -> None:
    """A service without Redis is ready and returns 202.

    When Redis starts, the service stores and compares everything.
    """
    async with v2(always(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            assert world.service.answers("metrics", "/readyz")
            await _send(world, 0)
            await asyncio.to_thread(own_redis.start)
            await world.until(pairs__mismatch=PAIRS, pairs__ready=PAIRS, mirrored__forwarded=PAIRS)
            await _each_once(world, PAIRS)


async def test_redis_gone_for_a_while(link: RedisLink, tmp_path: Path) -> None:
    """Observations that arrive while Redis rejects connections are stored later, and the ledger is exact."""
    async with v2(always(ANSWER)) as port:
        config = settings(link.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            await _send(world, 0)
            await link.down()
            await _send(world, PAIRS)
            assert world.service.answers("metrics", "/readyz")
            await link.up()
            await world.until(pairs__mismatch=2 * PAIRS, pairs__ready=2 * PAIRS, recorded__accepted=2 * PAIRS)
            await _each_once(world, 2 * PAIRS)


class Death(Moments[tuple[str, str]]):
    """A random moment at which Redis dies: before, during or after a call that stores observations or commits.

    If the call has run, Redis dies before the reply.
    """

    def __init__(self, draw: random.Random, redis: OwnRedis) -> None:
        super().__init__(draw, DEATH_KINDS, within=5)
        self._redis = redis

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Pass a call to Redis, or kill Redis at this call."""
        if self.kind is None or not runs(words, SCRIPTS[self.kind[0]]) or not self.is_now(self.kind):
            return await ask()
        when = self.kind[1]
        if when == "after":
            await ask()
        if when == "while":
            await asyncio.gather(ask(), self._die(self.draw.random() * CALL_S), return_exceptions=True)
        else:
            await self._die(0)
        return None

    async def _die(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._redis.kill()
        self.note()


@pytest.mark.parametrize("deaths", DEATHS)
async def test_redis_killed_and_started_on_its_data(
    link: RedisLink, own_redis: OwnRedis, tmp_path: Path, deaths: int, record_property: Callable[[str, object], None]
) -> None:
    """If Redis with durable storage dies under load and restarts, no accepted id is lost or counted twice.

    Acknowledged requests wait in memory while the queue has room, so no acknowledged request is lost.
    """
    seed = int.from_bytes(os.urandom(4))
    await made_durable(own_redis)
    death = Death(random.Random(seed), own_redis)
    link.on_call = death.on_call
    async with v2(always(ANSWER)) as port:
        config = settings(link.url, target(port), pairing=PATIENT, samples=EVERY_SAMPLE)
        async with serving(tmp_path, config) as world:
            load = Load(world, pace_s=0.02)
            async with load.running():
                for _ in range(deaths):
                    before = (await world.service.until(lambda _: True))["pairs"]["mismatch"]
                    await world.service.until(lambda books, before=before: books["pairs"]["mismatch"] > before + PAIRS)
                    death.arm()
                    async with asyncio.timeout(60):
                        await death.reached.wait()
                    await asyncio.to_thread(own_redis.start)
            books = await load.books()
            accepted = await audit(world, link, books, seed)
    assert {MIRRORED: set[str](), RECORDED: set[str]()} == accepted.unparked(load.acknowledged), seed
    assert death.hit.keys() == set(DEATH_KINDS), seed
    assert 0 == load.unanswered == load.answers[RECORDED, SHED], seed
    record_property(
        "figures", f"{deaths} deaths of Redis, {accepted.pairs.total()} pairs: each counted once, no half lost"
    )


async def test_redis_comes_back_empty(own_redis: OwnRedis, tmp_path: Path) -> None:
    """After Redis lost all data, the ledger balances, consumer groups are recreated, and new pairs are compared."""
    await asyncio.to_thread(own_redis.start)
    async with v2(always(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            await _send(world, 0)
            await world.until(pairs__mismatch=PAIRS)
            await asyncio.to_thread(own_redis.kill)
            await _send(world, PAIRS)
            await asyncio.to_thread(own_redis.start)
            await _send(world, 2 * PAIRS)
            books = await world.until(pairs__mismatch=2 * PAIRS, pairs__ready=2 * PAIRS)
            # The observations in the lost Redis are gone. The ledger rows count only observations in the new Redis.
            assert 2 * PAIRS == books["mirrored"]["forwarded"] == books["recorded"]["accepted"]


async def test_redis_hangs(own_redis: OwnRedis, tmp_path: Path) -> None:
    """A Redis that keeps connections open without replying delays no request, and the ledger is exact afterwards."""
    await asyncio.to_thread(own_redis.start)
    async with v2(always(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            await _send(world, 0)
            own_redis.pause()
            async with asyncio.timeout(60):
                await _send(world, PAIRS)
            assert world.service.answers("metrics", "/readyz")
            own_redis.resume()
            await world.until(pairs__mismatch=2 * PAIRS, pairs__ready=2 * PAIRS, recorded__accepted=2 * PAIRS)
            await _each_once(world, 2 * PAIRS)
