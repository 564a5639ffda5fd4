"""A stop drains. When the process ends, the ledger counts all accepted work, or the log reports it as lost.

The tests measure times in the log of the process, from `draining` to `stopped`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from shadowdiff.model import Side
from tests.integration.service.conftest import JSON, World, balanced_and_still, lines_of, settings, target
from tests.integration.service.scripts import always, response, v2
from tests.running import WITHIN_S, Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import RedisLink
    from tests.running import Mesh

DIFFERS = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")
GRACE_S = 10.0
"""How long a stop may take after `drain` ends (docs/operations.md)."""
KEPT = 10_000
MANY, APART_S = 150, 0.01
"""v2 responds to these requests one after another, from the start of a drain of 1 s until after its end."""


def _config(url: str, drain: str) -> dict[str, Any]:
    config = settings(url, pairing={"window": "4s"}, samples={"keep": KEPT, "per_fingerprint": KEPT})
    return config | {"drain": drain, "targets": [target(candidate={"concurrency": MANY})]}


async def _load(mesh: Mesh, numbers: itertools.count[int], said_yes: dict[Side, list[str]]) -> None:
    """Send pairs until the service rejects them, and record each half that got a 202."""
    with suppress(aiohttp.ClientError, OSError):
        while True:
            request_id = f"pair-{next(numbers)}"
            if await mesh.record(request_id, b'{"side": "v1"}', h_content_type=JSON) == 202:
                said_yes[Side.PRIMARY].append(request_id)
            if await mesh.mirror(request_id) == 202:
                said_yes[Side.CANDIDATE].append(request_id)


def _took_s(service: Service) -> float:
    """Return the duration of the last stop."""
    begun, ended = (
        datetime.fromisoformat(lines_of(service, message)[-1]["time"]) for message in ("draining", "stopped")
    )
    return (ended - begun).total_seconds()


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.01)


async def _ends(service: Service) -> None:
    """Stop a service that still runs after a failure."""
    if service.process is not None:
        await asyncio.to_thread(service.stop)


async def test_a_stop_under_load_loses_nothing(link: RedisLink, tmp_path: Path) -> None:
    """SIGTERM under load exits with 0 within the limit, and the store has each half that got a 202."""
    said_yes: dict[Side, list[str]] = {Side.PRIMARY: [], Side.CANDIDATE: []}
    numbers = itertools.count()
    config = _config(link.url, "5s")
    async with v2(always(DIFFERS)) as port:
        config["targets"] = [target(port, candidate={"timeout": "1s", "queue_timeout": "1s"})]
        service = Service(tmp_path, config)
        try:
            await asyncio.to_thread(service.start)
            async with mesh_of(service) as mesh, asyncio.TaskGroup() as group:
                tasks = [group.create_task(_load(mesh, numbers, said_yes)) for _ in range(4)]
                await service.until(lambda books: books["pairs"]["mismatch"] >= 50)
                assert 0 == await asyncio.to_thread(service.stop)
                await asyncio.wait(tasks)
            assert _took_s(service) <= 5 + GRACE_S
            for side, ids in said_yes.items():
                assert Counter(ids) == Counter(link.accepted[side]), side
            await asyncio.to_thread(service.start)
            books = await World(service, mesh).until(unclean_exits=0)
            await _each_pair_once(World(service, mesh), link)
            assert len(said_yes[Side.CANDIDATE]) == books["mirrored"]["received"] == books["mirrored"]["forwarded"]
            assert len(said_yes[Side.PRIMARY]) == books["recorded"]["received"] == books["recorded"]["accepted"]
        finally:
            await _ends(service)


async def _each_pair_once(world: World, link: RedisLink) -> None:
    """Compare the samples with the ids that Redis accepted: each differing pair leaves one sample."""
    pairs = Counter(link.accepted[Side.PRIMARY]) & Counter(link.accepted[Side.CANDIDATE])
    assert {1} == set(pairs.values())
    assert pairs.total() < KEPT
    assert pairs == Counter(sample["request_id"] for sample in await world.samples())


async def test_responses_until_the_end_of_the_drain_are_stored_once(link: RedisLink, tmp_path: Path) -> None:
    """Later responses are dropped and counted once, as in flight in a process that exited."""
    drains = asyncio.Event()

    async def late(head: bytes, writer: asyncio.StreamWriter) -> None:
        await drains.wait()
        await asyncio.sleep(APART_S * int(head.split(b" ")[1][1:]))
        writer.write(DIFFERS)

    async with v2(late) as port:
        config = _config(link.url, "1s")
        config["targets"] = [target(port, candidate={"timeout": "30s", "concurrency": MANY})]
        service = Service(tmp_path, config)
        try:
            await asyncio.to_thread(service.start)
            async with mesh_of(service) as mesh:
                world = World(service, mesh)
                for number in range(MANY):
                    await world.both(f"late-{number}", b'{"side": "v1"}', f"/{number}")
                await service.until(lambda books: books["mirrored"]["in_flight"] == MANY)
                stopping = asyncio.create_task(asyncio.to_thread(service.stop))
                await _until(lambda: lines_of(service, "draining"))
                drains.set()
                assert 0 == await stopping
                assert _took_s(service) <= 1 + GRACE_S
                (line,) = lines_of(service, "drain timed out; requests to v2 cancelled")
                await asyncio.to_thread(service.start)
                books = await service.until(lambda books: balanced_and_still(books) and books["mirrored"]["received"])
                await _each_pair_once(world, link)
        finally:
            await _ends(service)
    parked, given_up = len(link.accepted[Side.CANDIDATE]), line["requests"]
    assert 0 < parked < MANY
    assert MANY == parked + given_up
    mirrored = books["mirrored"]
    assert (MANY, parked, given_up, 0) == (
        mirrored["received"], mirrored["forwarded"], mirrored["crashed"], mirrored["store_lost"]
    )  # fmt: skip


@pytest.mark.parametrize("how", ["never there", "killed", "hangs"])
async def test_a_stop_without_a_store_is_bounded(own_redis: OwnRedis, tmp_path: Path, how: str) -> None:
    """If the store is unavailable, a stop exits with 0 in time, and logs how many observations it could not store."""
    service = Service(tmp_path, _config(own_redis.url, "1s"))
    if how != "never there":
        await asyncio.to_thread(own_redis.start)
    try:
        await asyncio.to_thread(service.start)
        async with mesh_of(service) as mesh:
            if how != "never there":
                assert await mesh.record("before", b"{}", h_content_type=JSON) == 202
                await service.until(lambda books: books["recorded"]["accepted"] == 1)
            if how == "killed":
                await asyncio.to_thread(own_redis.kill)
            elif how == "hangs":
                own_redis.pause()
            for number in range(3):
                assert await mesh.record(f"lost-{number}", b"{}", h_content_type=JSON) == 202
            assert 0 == await asyncio.to_thread(service.stop)
    finally:
        await _ends(service)
    assert _took_s(service) <= 1 + GRACE_S
    (line,) = lines_of(service, "observations lost; store did not accept them in time")
    assert 3 == line["observations"]
