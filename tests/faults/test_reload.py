"""A stop drains, and a reload takes a right configuration and leaves a wrong one alone."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp

from shadowdiff.model import Side
from tests.integration.service.conftest import JSON, World, lines_of, metrics_of, serving, settings, target
from tests.integration.service.scripts import echoes_the_path, response, says, v2
from tests.running import WITHIN_S, Service, mesh_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.integration.service.redis_link import RedisLink
    from tests.running import Mesh

DIFFERS = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")
RELOADED = "shadowdiff_config_last_reload_successful"
RELOADED_AT = "shadowdiff_config_last_reload_timestamp_seconds"


async def _load(mesh: Mesh, numbers: itertools.count[int], said_yes: dict[Side, list[str]]) -> None:
    """Send pairs until the service takes no more; note each half that it said 202 to."""
    while True:
        request_id = f"pair-{next(numbers)}"
        try:
            if await mesh.record(request_id, b'{"side": "v1"}', h_content_type=JSON) == 202:
                said_yes[Side.PRIMARY].append(request_id)
            if await mesh.mirror(request_id) == 202:
                said_yes[Side.CANDIDATE].append(request_id)
        except (aiohttp.ClientError, OSError):
            return


async def test_a_stop_under_load_loses_nothing(link: RedisLink, tmp_path: Path) -> None:
    """SIGTERM under load ends with 0 within the bound, and each half that got its 202 is in the store."""
    said_yes: dict[Side, list[str]] = {Side.PRIMARY: [], Side.CANDIDATE: []}
    numbers = itertools.count()
    config = settings(link.url, pairing={"window": "4s"}, samples={"keep": 10_000}) | {"drain": "5s"}
    async with v2(says(DIFFERS)) as port:
        config["targets"] = [target(port, candidate={"timeout": "1s", "queue_timeout": "1s"})]
        service = Service(tmp_path, config)
        try:
            await asyncio.to_thread(service.start)
            async with mesh_of(service) as mesh, asyncio.TaskGroup() as group:
                tasks = [group.create_task(_load(mesh, numbers, said_yes)) for _ in range(4)]
                await service.until(lambda books: books["pairs"]["mismatch"] >= 50)
                assert 0 == await asyncio.to_thread(service.stop)
                await asyncio.wait(tasks)
            assert Counter(said_yes[Side.PRIMARY]) == Counter(link.accepted[Side.PRIMARY])
            assert Counter(said_yes[Side.CANDIDATE]) == Counter(link.accepted[Side.CANDIDATE])
            await asyncio.to_thread(service.start)
            books = await World(service, mesh).until(unclean_exits=0)
            pairs = Counter(link.accepted[Side.PRIMARY]) & Counter(link.accepted[Side.CANDIDATE])
            assert pairs == Counter(sample["request_id"] for sample in await World(service, mesh).samples())
            assert len(said_yes[Side.CANDIDATE]) == books["mirrored"]["received"] == books["mirrored"]["forwarded"]
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop)


async def test_a_stop_without_a_store_is_bounded(tmp_path: Path, free_port: int) -> None:
    """With the store away a stop still ends with 0 within its bound, and says how much it could not park."""
    config = settings(f"redis://127.0.0.1:{free_port}/0", target()) | {"drain": "1s"}
    async with serving(tmp_path, config) as world:
        for number in range(3):
            assert await world.mesh.record(f"lost-{number}", b"{}", h_content_type=JSON) == 202
        async with asyncio.timeout(WITHIN_S):
            assert 0 == await asyncio.to_thread(world.service.stop)
        (line,) = lines_of(world.service, "observations are lost: the store did not take them in time")
    assert 3 == line["observations"]


async def test_a_wrong_file_changes_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    """SIGHUP with a wrong file is logged and measured, and the old configuration goes on; a right one heals it."""
    config = settings(redis_server.url, store={"prefix": "wrong"})
    async with v2(says(DIFFERS)) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            assert 1.0 == (await metrics_of(world.service))[RELOADED, ()]
            await _reload(world.service, config | {"targets": [target(port, sample=7)]})
            assert 0.0 == (await metrics_of(world.service))[RELOADED, ()]
            (line,) = lines_of(world.service, "the new configuration is wrong, the old one stays")
            assert "targets[0].sample" in line["error"]
            await world.both("after-wrong", b'{"side": "v1"}')
            await world.until(pairs__mismatch=1)
            await _reload(world.service, config)
            assert 1.0 == (await metrics_of(world.service))[RELOADED, ()]


async def test_a_right_file_brings_targets_and_rules(redis_server: RedisServer, tmp_path: Path) -> None:
    """After SIGHUP a new target is compared, and a new rule covers what differed before."""
    config = settings(redis_server.url, store={"prefix": "right"})
    async with v2(says(DIFFERS)) as port, v2(echoes_the_path(lambda _path: b'{"side": "v1"}')) as other:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            await world.both("before", b'{"side": "v1"}')
            await world.until(pairs__mismatch=1)
            rules = [{"ignore": "$.side", "reason": "the side says who it is"}]
            await _reload(world.service, config | {"targets": [target(port, rules=rules), target(other, "added")]})
            await world.both("after", b'{"side": "v1"}')
            await world.until(pairs__mismatch=1, pairs__ignored=1)
            world.mesh.host = "added"
            added = World(world.service, world.mesh, "added")
            await added.both("new", b'{"side": "v1"}')
            await added.until(pairs__match=1, pairs__ready=1)


async def test_a_target_that_is_taken_away_and_returns(redis_server: RedisServer, tmp_path: Path) -> None:
    """What waited for a target that a reload removed is compared once the target is back."""
    config = settings(redis_server.url, store={"prefix": "returns"})
    async with v2(says(DIFFERS)) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            assert await world.mesh.record("parted", b'{"side": "v1"}', h_content_type=JSON) == 202
            await world.service.until(lambda books: books["observations"]["primary"]["waiting"] == 1)
            for targets in ([target(port, "other")], [target(port)]):
                await _reload(world.service, config | {"targets": targets})
            assert await world.mesh.mirror("parted") == 202
            await world.until(pairs__mismatch=1, pairs__ready=1)


async def _reload(service: Service, config: dict[str, Any]) -> None:
    """Write another configuration, send SIGHUP, and wait until the service took note of it."""
    before = (await metrics_of(service))[RELOADED_AT, ()]
    service.config = config
    service.write()
    service.send(signal.SIGHUP)
    async with asyncio.timeout(WITHIN_S):
        while before == (await metrics_of(service))[RELOADED_AT, ()]:  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.02)
