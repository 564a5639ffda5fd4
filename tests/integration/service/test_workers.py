"""Several processes that serve one pod: whichever takes which half, and however one ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from shadowdiff.store import Store, connect
from tests.conftest import free_port_number
from tests.faults.test_restarts_under_load import Users
from tests.integration.service.conftest import (
    World,
    balanced_and_still,
    lines_of,
    metrics_of,
    settings,
    target,
)
from tests.integration.service.scripts import echoes_the_path, v2
from tests.integration.service.test_metrics_agree import RESULTS, total
from tests.running import WITHIN_S, Mesh, Service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.conftest import RedisServer
    from tests.integration.service.conftest import Metrics

WORKERS = 2
PAIRS = 40
CONNECTIONS = 200
LONG_S = 1.5 * WITHIN_S


def children(pid: int) -> set[int]:
    """Return the processes that a supervisor started and that serve."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in found if b"--control" in _command(int(child))}


def _others(pid: int, before: set[int]) -> set[int]:
    """Return who serves now, once none of those before is left."""
    now = children(pid)
    return set() if now & before else now


def _command(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LONG_S):
        while not condition():  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _workers(folder: Path, config: dict[str, Any]) -> AsyncGenerator[World]:
    """Run two workers; each request comes over a connection of its own, so that the kernel deals them out."""
    service = Service(folder, config, arguments=["--workers", str(WORKERS)])
    try:
        await asyncio.to_thread(service.start)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            yield World(service, Mesh(service, session))
    finally:
        if service.process is not None:
            await asyncio.to_thread(service.stop)


async def _pairs(world: World, name: str, count: int = PAIRS) -> int:
    """Send pairs; return how many had both halves acknowledged."""
    acknowledged = 0
    for number in range(count):
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await world.both(f"{name}{number}", b'{"price": 1}', f"/{name}")
            acknowledged += 1
    return acknowledged


async def _metrics_where(world: World, condition: Callable[[Metrics], bool]) -> Metrics:
    found: Metrics = {}
    async with asyncio.timeout(LONG_S):
        while not found or not condition(found):
            found = await metrics_of(world.service)
            await asyncio.sleep(0.05)
    return found


def _agree(metrics: Metrics, books: Any) -> None:
    """Hold one scrape over all workers to the books."""
    assert {name: books["pairs"][name] for name in RESULTS} == {
        name: total(metrics, "shadowdiff_comparisons_total", target="shop", result=name) for name in RESULTS
    }
    assert books["mirrored"]["received"] == total(metrics, "shadowdiff_mirrored_requests_total", target="shop")
    assert books["recorded"]["received"] == total(metrics, "shadowdiff_records_total", target="shop")


async def test_two_workers_are_one_service(redis_server: RedisServer, tmp_path: Path) -> None:
    """Pairs, books and metrics are one; a reload reaches all; a change that needs new processes rolls."""
    config = settings(redis_server.url, store={"prefix": f"workers{time.monotonic_ns()}"}) | {"drain": "5s"}
    async with v2(echoes_the_path(lambda _path: b'{"price": 1}')) as port:
        config["targets"] = [target(port)]
        async with _workers(tmp_path, config) as world:
            supervisor = world.service.process
            assert supervisor is not None
            before = children(supervisor.pid)
            assert WORKERS == len(before)
            assert PAIRS == await _pairs(world, "one")
            books = await world.until(pairs__match=PAIRS, mirrored__received=PAIRS, recorded__received=PAIRS)
            metrics = await metrics_of(world.service)
            _agree(metrics, books)
            assert (WORKERS, 0) == (
                metrics["shadowdiff_workers", ()], metrics["shadowdiff_worker_crashes_total", ()]
            )  # fmt: skip

            world.service.config = config | {"targets": [target(port, rules=[{"ignore": "$.price"}])]}
            world.service.write()
            world.service.send(signal.SIGHUP)
            await _until(lambda: len(lines_of(world.service, "configuration reloaded")) == WORKERS)
            assert before == children(supervisor.pid)

            world.service.config |= {"drain": "6s"}
            world.service.write()
            world.service.send(signal.SIGHUP)
            await _until(lambda: lines_of(world.service, "every worker was replaced"))
            after = children(supervisor.pid)
            assert (WORKERS, set[int]()) == (len(after), after & before)
            assert PAIRS == await _pairs(world, "two")
            books = await world.until(pairs__match=2 * PAIRS, unclean_exits=0)
            _agree(await metrics_of(world.service), books)

            world.service.config = config | {"drain": "soon"}
            world.service.write()
            world.service.send(signal.SIGHUP)
            name = "shadowdiff_config_last_reload_successful"
            await _metrics_where(world, lambda found: found[name, ()] == 0)
            assert after == children(supervisor.pid)
            assert 0 == await asyncio.to_thread(world.service.stop)
            assert not any(map(_command, after))


def _held_by(pid: int, port: int) -> int:
    """Return how many connections to a port a process has accepted."""
    established, local = "01", f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(local) and row[3] == established}
    held = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held += str(each.readlink()) in inodes
    return held


async def test_connections_are_dealt_out_evenly(redis_server: RedisServer, tmp_path: Path) -> None:
    """Of many connections that stay open each worker has its share, on either port, and answers what comes over it."""
    config = settings(redis_server.url, target(), store={"prefix": f"even{time.monotonic_ns()}"})
    async with _workers(tmp_path, config) as world, contextlib.AsyncExitStack() as stack:
        supervisor = world.service.process
        assert supervisor is not None
        workers = children(supervisor.pid)
        for name in ("mirror", "records"):
            port = world.service.ports[name]
            for _ in range(CONNECTIONS):
                stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", port))))
            await _until(lambda port=port: sum(_held_by(pid, port) for pid in workers) == CONNECTIONS)
            held = {pid: _held_by(pid, port) for pid in workers}
            # The kernel chooses by a hash of both addresses: a fair coin, which gives one of two a quarter or less
            # of two hundred once in 10^12 runs.
            assert min(held.values()) > CONNECTIONS / WORKERS / 2, held


async def test_a_rolling_restart_under_load_loses_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    """SIGUSR1 replaces every worker while users ask: what was acknowledged is in the books, and no exit was unclean."""
    config = settings(redis_server.url, store={"prefix": f"rolling{time.monotonic_ns()}"}, pairing={"window": "3s"})
    async with v2(echoes_the_path(lambda _path: b"x")) as port:
        config |= {"targets": [target(port)], "drain": "5s"}
        async with _workers(tmp_path, config) as world, asyncio.TaskGroup() as group:
            supervisor = world.service.process
            assert supervisor is not None
            users = Users(world.service)
            for name in ("a", "b"):
                group.create_task(users.ask(name))
            await users.reach(PAIRS)
            before = children(supervisor.pid)
            for _ in range(2):
                world.service.send(signal.SIGUSR1)
                await _until(lambda before=before: len(_others(supervisor.pid, before)) == WORKERS)
                await users.reach(users.acknowledged + PAIRS)
                before = children(supervisor.pid)
            assert lines_of(world.service, "every worker was replaced")
            users.done.set()
            books = await world.service.until(balanced_and_still)
            metrics = await metrics_of(world.service)
            assert (0, 0, 0) == (
                books["unclean_exits"], books["mirrored"]["store_lost"], books["recorded"]["store_lost"]
            )  # fmt: skip
            assert books["pairs"]["ready"] >= users.acknowledged
            assert 0 == metrics["shadowdiff_worker_crashes_total", ()]
            _agree(metrics, books)


async def test_a_killed_worker_is_started_again(redis_server: RedisServer, tmp_path: Path) -> None:
    """The other goes on meanwhile, the books balance, no counter falls, and the crash is counted and logged once."""
    config = settings(redis_server.url, store={"prefix": f"killed{time.monotonic_ns()}"}, pairing={"window": "2s"})
    async with v2(echoes_the_path(lambda _path: b'{"price": 1}')) as port:
        config["targets"] = [target(port)]
        config["pairing"]["claim_idle"] = "1s"
        async with _workers(tmp_path, config) as world:
            supervisor = world.service.process
            assert supervisor is not None
            assert PAIRS == await _pairs(world, "one")
            await world.until(pairs__match=PAIRS)
            first = await metrics_of(world.service)
            victim = min(children(supervisor.pid))
            sending = asyncio.create_task(_pairs(world, "two"))
            os.kill(victim, signal.SIGKILL)
            acknowledged = PAIRS + await sending
            last = await _metrics_where(
                world, lambda found: (found["shadowdiff_workers", ()], found["shadowdiff_worker_crashes_total", ()])
                == (WORKERS, 1),
            )  # fmt: skip
            assert victim not in children(supervisor.pid)
            assert total(last, "shadowdiff_comparisons_total") >= total(first, "shadowdiff_comparisons_total")
            (line,) = lines_of(world.service, "a worker ended and is started again")
            assert (victim, -signal.SIGKILL) == (line["pid"], line["exit"])
            assert 10 == await _pairs(world, "three", 10)
            books = await world.until(unclean_exits=1)
            # What was acknowledged by the victim and not yet parked is all that is missing.
            assert books["mirrored"]["received"] <= 2 * PAIRS + 10
            assert books["pairs"]["match"] >= acknowledged - PAIRS


async def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """A supervisor that is killed leaves no process behind, nor a data folder that is held."""
    config: dict[str, Any] = {"store": {"data_dir": str(tmp_path / "store")}, "targets": [target()]}
    async with _workers(tmp_path, config) as world:
        supervisor = world.service.process
        assert supervisor is not None
        workers = children(supervisor.pid)
        assert WORKERS == len(workers)
        supervisor.kill()
        await asyncio.to_thread(supervisor.wait)
        await _until(lambda: not any(map(_command, workers)))
        await asyncio.to_thread(world.service.start)
        again = world.service.process
        assert again is not None
        assert WORKERS == len(children(again.pid))


def test_what_cannot_work_is_said_once(tmp_path: Path) -> None:
    """A port that somebody has ends the whole with 2 and one line, also where they would share it."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", free_port_number()))
        taken.listen()
        service = Service(tmp_path, {"store": {"data_dir": str(tmp_path / "store")}, "targets": [target()]})
        service.ports["mirror"] = taken.getsockname()[1]
        command = [sys.executable, "-m", "shadowdiff", "serve", "--config", str(service.write()), "--workers", "2"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert 2 == ended.returncode, ended.stderr
    assert 1 == len(said)
    assert said[0].startswith("shadowdiff: listen.mirror: cannot listen on 127.0.0.1:")


async def test_a_store_of_other_shards_ends_the_whole(redis_server: RedisServer, tmp_path: Path) -> None:
    """What no restart mends is said and ends with 2, though the workers were ready by then."""
    config = settings(redis_server.url, target(), store={"prefix": f"misfit{time.monotonic_ns()}"})
    store = Store(connect(redis_server.url), config["store"]["prefix"], shards=3)
    await store.check()
    await store.close()
    service = Service(tmp_path, config)
    command = [sys.executable, "-m", "shadowdiff", "serve", "--config", str(service.write()), "--workers", "2"]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    async with asyncio.timeout(LONG_S):
        _, said = await process.communicate()
    assert 2 == process.returncode
    assert b"store.shards is 1" in said
