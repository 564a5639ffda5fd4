"""Faults of the machine: the clock jumps, the disk is full, or no file descriptor is available."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import needs_tool
from tests.integration.service.conftest import JSON, lines_of, metrics_of, serving, settings, target
from tests.integration.service.scripts import always, response, v2
from tests.running import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import RedisServer
    from tests.faults.conftest import Machine
    from tests.integration.service.conftest import World
    from tests.integration.service.own_redis import OwnRedis

MINUTE_S, HOUR_S = 60, 3600
JUMPS_S = (HOUR_S, 0, -HOUR_S - MINUTE_S, 0)
"""Forward, and then back by another amount, because equal lines are logged once in ten seconds."""
NO_DESCRIPTOR = "no file descriptor left for v2; raise `ulimit -n`"
ANSWER = response(b'{"side": 1}', "200 OK", f"content-type: {JSON}")


async def _pairs(world: World, name: str, count: int = 5) -> None:
    for number in range(count):
        await world.both(f"{name}-{number}", b'{"side": 1}')


async def test_the_clock_jumps_by_an_hour_and_back(
    own_redis: OwnRedis, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    """The clock of Redis or the service jumps back and forth. Comparison continues, and one line logs each jump."""
    at_redis, at_service = machine("redis"), machine("service")
    own_redis.environment = at_redis.environment
    await asyncio.to_thread(own_redis.start)
    async with v2(always(ANSWER)) as port:
        config = settings(own_redis.url, target(port), pairing={"window": "3s"})
        async with serving(tmp_path, config, tls=None, **at_service.environment) as world:
            done = 0
            expected = await _until_watched(world, at_redis)
            for whose in (at_redis, at_service):
                before_s = 0
                for clock_s in JUMPS_S:
                    whose.set(clock_s=clock_s)
                    await _pairs(world, f"{whose.file.stem}-{done}")
                    done += 5
                    await world.until(pairs__match=done, pairs__ready=done, recorded__accepted=done)
                    said = _jumped("Redis" if whose is at_redis else "this process", clock_s - before_s)
                    await _until_said(world, said)
                    expected.append(said)
                    before_s = clock_s
            assert await world.mesh.record("alone", b"{}", h_content_type=JSON) == 202
            books = await world.until(observations__primary__orphaned=1)
            _exact(books, done, alone=1)
            assert expected == _jumps(world)
            assert [] == [line for line in _lines(world) if line["level"] == "ERROR"]


async def _until_watched(world: World, redis: Machine) -> list[str]:
    """Advance Redis' clock until a jump is logged, then reset it; return the logged jumps.

    The service's first clock check cannot detect a jump.
    """
    ahead_s = 0
    async with asyncio.timeout(WITHIN_S):
        while not _jumps(world):
            redis.set(clock_s=(ahead_s := ahead_s + 2 * MINUTE_S))
            await asyncio.sleep(3)  # longer than the interval between two clock checks
    redis.set()
    await _until_said(world, _jumped("Redis", -ahead_s))
    return _jumps(world)


def _jumps(world: World) -> list[str]:
    """Return the log message of every clock jump."""
    return [line["message"] for line in _lines(world) if " jumped by " in line["message"]]


def _jumped(whose: str, by_s: int) -> str:
    return f"the clock of {whose} jumped by {by_s:+d} s; windows and runs depend on it"


def _lines(world: World) -> list[Any]:
    """Return the lines of the log."""
    return [json.loads(line) for line in world.service.log.splitlines() if line.startswith("{")]


def _exact(books: Any, pairs: int, *, shed: int = 0, alone: int = 0) -> None:
    """Check every row against the sent requests: pairs, shed requests, and records without a partner."""
    mirrored, recorded = books["mirrored"], books["recorded"]
    assert (pairs, pairs - shed, shed) == (mirrored["received"], mirrored["forwarded"], mirrored["shed"])
    assert (pairs + alone, pairs + alone) == (recorded["received"], recorded["accepted"])
    assert pairs - shed == books["pairs"]["ready"] == books["pairs"]["match"]
    assert alone + shed == books["observations"]["primary"]["orphaned"]
    assert (0, True) == (books["unclean_exits"], books["balanced"])


async def _until_said(world: World, message: str) -> None:
    """Wait until the log contains the line."""
    async with asyncio.timeout(WITHIN_S):
        while not lines_of(world.service, message):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.05)


def _servers_on(machine: Machine, folder: Path) -> str:
    """Return a PATH with a redis-server that has the simulated machine's faults.

    The service does not pass its environment variables to redis-server.
    """
    given = " ".join(f"{name}={value}" for name, value in machine.environment.items())
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text(f'#!/bin/sh\nexec env {given} {needs_tool("redis-server")} "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def _highest_descriptor(pid: int) -> int:
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())


async def test_the_disk_is_full(machine: Callable[[str], Machine], tmp_path: Path) -> None:
    """The disk is full, so the embedded store cannot write.

    The service logs the reason, stays ready, and later compares all pairs.
    """
    disk = machine("disk")
    async with v2(always(ANSWER)) as port:
        config = settings("", target(port), pairing={"window": "60s"})
        config["store"] = {"data_dir": str(tmp_path / "data")}
        async with serving(tmp_path, config, PATH=_servers_on(disk, tmp_path / "bin")) as world:
            await _pairs(world, "before")
            await world.until(pairs__match=5)
            disk.set(is_full=True)
            await _pairs(world, "full")
            await _until_said(world, "store cannot write to its disk; retrying")
            assert world.service.answers("metrics", "/readyz")
            disk.set()
            await _pairs(world, "after")
            _exact(await world.until(pairs__match=15, recorded__accepted=15, mirrored__forwarded=15), 15)
            (line,) = lines_of(world.service, "store cannot write to its disk; retrying")
            assert "No space left on device" in line["error"]
            assert [] == [line for line in _lines(world) if line["level"] == "ERROR"]


async def test_no_file_descriptor_is_left(redis_server: RedisServer, tmp_path: Path) -> None:
    """Without free file descriptors, the service logs one line, counts no failure for v2, and recovers by itself."""
    closes = response(b'{"side": 1}', "200 OK", f"content-type: {JSON}", "connection: close")  # each request connects
    async with v2(always(closes)) as port:
        config = settings(redis_server.url, target(port), store={"prefix": f"descriptors{time.monotonic_ns()}"})
        config["pairing"]["window"] = "3s"
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
                await _until_said(world, NO_DESCRIPTOR)
            finally:
                for _, writer in held:
                    writer.transport.abort()
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            await _pairs(world, "after")
            # Some requests can get a descriptor that another connection released.
            books = await world.service.until(
                lambda books: (
                    books["pairs"]["match"] + books["mirrored"]["shed"] == 13 and not books["pairs"]["pending"]
                )
            )
            shed = books["mirrored"]["shed"]
            assert 1 <= shed <= 3
            _exact(await world.until(observations__primary__orphaned=shed), 13, shed=shed)
            assert {"descriptors": shed} == {
                dict(labels)["reason"]: count
                for (name, labels), count in (await metrics_of(world.service)).items()
                if name == "shadowdiff_shed_total" and count
            }
            assert 1 == len(lines_of(world.service, NO_DESCRIPTOR))
