"""The machine fails the service: its clock jumps, its disk is full, no file descriptor is left."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import needs_tool
from tests.integration.service.conftest import JSON, lines_of, serving, settings, target
from tests.integration.service.scripts import response, says, v2
from tests.running import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import RedisServer
    from tests.faults.conftest import Machine
    from tests.integration.service.conftest import World
    from tests.integration.service.own_redis import OwnRedis

HOUR_S = 3600
ANSWER = response(b'{"side": 1}', "200 OK", f"content-type: {JSON}")


async def _pairs(world: World, name: str, count: int = 5) -> None:
    for number in range(count):
        await world.both(f"{name}-{number}", b'{"side": 1}')


async def test_the_clock_jumps_by_an_hour_and_back(
    own_redis: OwnRedis, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    """Of Redis or of the service, forth and back: pairs go on, the books balance, and one line says what happened."""
    at_redis, at_service = machine("redis"), machine("service")
    own_redis.environment = at_redis.environment
    await asyncio.to_thread(own_redis.start)
    async with v2(says(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing={"window": "3s"})
        async with serving(tmp_path, config, tls=None, **at_service.environment) as world:
            done = 0
            for whose in (at_redis, at_service):
                before_s = 0
                for clock_s in (HOUR_S, 0, -HOUR_S, 0):
                    whose.set(clock_s=clock_s)
                    await _pairs(world, f"{whose.file.stem}-{done}")
                    done += 5
                    await world.until(pairs__match=done, pairs__ready=done, recorded__accepted=done)
                    if whose is at_service:
                        by_s = clock_s - before_s
                        await _until_said(
                            world, f"the wall clock jumped by {by_s:+d} s: windows and epochs are told by it"
                        )
                    before_s = clock_s
            assert await world.mesh.record("alone", b"{}", h_content_type=JSON) == 202
            books = await world.until(observations__primary__orphaned=1)
            assert done == books["pairs"]["match"]


async def _until_said(world: World, *messages: str) -> None:
    """Wait until the log says it in one of these ways."""
    async with asyncio.timeout(WITHIN_S):
        while not any(lines_of(world.service, message) for message in messages):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.05)


def _servers_on(machine: Machine, folder: Path) -> str:
    """Return a PATH whose redis-server runs on this machine: the service hands its own environment to nobody."""
    given = " ".join(f"{name}={value}" for name, value in machine.environment.items())
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text(f'#!/bin/sh\nexec env {given} {needs_tool("redis-server")} "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def _highest_descriptor(pid: int) -> int:
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())


async def test_the_disk_is_full(machine: Callable[[str], Machine], tmp_path: Path) -> None:
    """The embedded store can write nothing: the service says why and stays ready; later all is compared."""
    disk = machine("disk")
    async with v2(says(ANSWER)) as port:
        config = settings("", target(port), pairing={"window": "60s"})
        config["store"] = {"data_dir": str(tmp_path / "data")}
        async with serving(tmp_path, config, PATH=_servers_on(disk, tmp_path / "bin")) as world:
            await _pairs(world, "before")
            await world.until(pairs__match=5)
            disk.set(is_full=True)
            await _pairs(world, "full")
            # Whichever writes first is still taken, and finds out for the others.
            await _until_said(world, "parking waits for the store", "committing waits for the store")
            assert world.service.answers("metrics", "/readyz")
            disk.set()
            await _pairs(world, "after")
            await world.until(pairs__match=15, pairs__ready=15, recorded__accepted=15, mirrored__forwarded=15)


async def test_no_file_descriptor_is_left(redis_server: RedisServer, tmp_path: Path) -> None:
    """It is said in one line and blamed on nobody else: v2 is not counted as refusing; then all goes on by itself."""
    closes = response(b'{"side": 1}', "200 OK", f"content-type: {JSON}", "connection: close")  # asking needs a new one
    async with v2(says(closes)) as port:
        config = settings(redis_server.url, target(port), store={"prefix": f"descriptors-{os.getpid()}"})
        async with serving(tmp_path, config) as world:
            await _pairs(world, "before")
            await world.until(pairs__match=5)
            assert world.service.process is not None
            pid = world.service.process.pid
            hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_highest_descriptor(pid) + 1, hard))
            held = [await asyncio.open_connection("127.0.0.1", world.service.ports["mirror"]) for _ in range(20)]
            try:
                await _pairs(world, "without", 3)
                await _until_said(world, "no file descriptor is left to ask v2 by: raise `ulimit -n`")
            finally:
                for _, writer in held:
                    writer.transport.abort()
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            await _pairs(world, "after")
            # Some of those in between may find a descriptor that something else has given back.
            books = await world.service.until(
                lambda books: (
                    books["pairs"]["match"] + books["mirrored"]["shed"] == 13 and not books["pairs"]["pending"]
                )
            )
            assert 0 == books["pairs"]["mismatch"]
            assert 1 <= books["mirrored"]["shed"] <= 3
