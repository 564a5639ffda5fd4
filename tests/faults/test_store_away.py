"""The service serves while its store is away, and nothing that it said yes to is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from tests.integration.service.conftest import JSON, World, serving, settings, target
from tests.integration.service.scripts import response, says, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import RedisLink

PAIRS = 60
ANSWER = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")
PATIENT = {"window": "60s", "claim_idle": "3s"}


async def _send(world: World, first: int, pairs: int = PAIRS) -> None:
    for number in range(first, first + pairs):
        await world.both(f"pair-{number}", b'{"side": "v1"}')


async def _each_once(world: World, pairs: int) -> None:
    found = Counter(sample["request_id"] for sample in await world.samples())
    assert Counter({f"pair-{number}": 1 for number in range(pairs)}) == found


async def test_redis_absent_at_start(own_redis: OwnRedis, tmp_path: Path) -> None:
    """A service without its Redis is ready and says 202; once Redis comes, everything is parked and compared."""
    async with v2(says(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            assert world.service.answers("metrics", "/readyz")
            await _send(world, 0)
            await asyncio.to_thread(own_redis.start)
            await world.until(pairs__mismatch=PAIRS, pairs__ready=PAIRS, mirrored__forwarded=PAIRS)
            await _each_once(world, PAIRS)


async def test_redis_gone_for_a_while(link: RedisLink, tmp_path: Path) -> None:
    """What arrives while no connection to Redis can be made is parked when it is back, and the books are exact."""
    async with v2(says(ANSWER)) as port:
        config = settings(link.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            await _send(world, 0)
            await link.down()
            await _send(world, PAIRS)
            assert world.service.answers("metrics", "/readyz")
            await link.up()
            await world.until(pairs__mismatch=2 * PAIRS, pairs__ready=2 * PAIRS, recorded__accepted=2 * PAIRS)
            await _each_once(world, 2 * PAIRS)


async def test_redis_killed_and_started_on_its_data(own_redis: OwnRedis, tmp_path: Path) -> None:
    """A durable Redis that is killed and comes back costs nothing that was accepted, and counts nothing twice."""
    own_redis.durable = True
    await asyncio.to_thread(own_redis.start)
    async with v2(says(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            async with asyncio.TaskGroup() as group:
                group.create_task(_send(world, 0, 3 * PAIRS))
                await world.service.until(lambda books: books["pairs"]["ready"] > PAIRS)
                await asyncio.to_thread(own_redis.kill)
                await asyncio.to_thread(own_redis.start)
            await world.until(pairs__mismatch=3 * PAIRS, pairs__ready=3 * PAIRS, recorded__accepted=3 * PAIRS)
            await _each_once(world, 3 * PAIRS)


async def test_redis_comes_back_empty(own_redis: OwnRedis, tmp_path: Path) -> None:
    """After Redis lost everything the books still balance, groups are made anew, and new pairs are compared."""
    await asyncio.to_thread(own_redis.start)
    async with v2(says(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            await _send(world, 0)
            await world.until(pairs__mismatch=PAIRS)
            await asyncio.to_thread(own_redis.kill)
            await _send(world, PAIRS)
            await asyncio.to_thread(own_redis.start)
            await _send(world, 2 * PAIRS)
            books = await world.until(pairs__mismatch=2 * PAIRS, pairs__ready=2 * PAIRS)
            # What was parked in the Redis that is gone went with it; the rows say what this one took.
            assert 2 * PAIRS == books["mirrored"]["forwarded"] == books["recorded"]["accepted"]


async def test_redis_hangs(own_redis: OwnRedis, tmp_path: Path) -> None:
    """A Redis that keeps its connections and answers nothing holds up no request, and the books are exact after it."""
    await asyncio.to_thread(own_redis.start)
    async with v2(says(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing=PATIENT, samples={"keep": 1000})
        async with serving(tmp_path, config) as world:
            await _send(world, 0)
            own_redis.pause()
            async with asyncio.timeout(10):
                await _send(world, PAIRS)
            assert world.service.answers("metrics", "/readyz")
            own_redis.resume()
            await world.until(pairs__mismatch=2 * PAIRS, pairs__ready=2 * PAIRS, recorded__accepted=2 * PAIRS)
            await _each_once(world, 2 * PAIRS)
