"""Test several processes that serve one pod: either may get either half, and any of them may exit."""

from __future__ import annotations

import asyncio
import contextlib
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
from tests.integration.service.conftest import (
    World,
    lines_of,
    metrics_of,
    settings,
    target,
)
from tests.integration.service.processes import (
    LONG_S,
    WORKERS,
    agree,
    children,
    command_of,
    metrics_where,
    two_workers,
    until,
)
from tests.integration.service.scripts import echoes_the_path, v2
from tests.running import Service

if TYPE_CHECKING:
    from tests.conftest import RedisServer

PAIRS = 40
CONNECTIONS = 200


async def _pairs(world: World, name: str, count: int = PAIRS) -> int:
    """Send pairs; return how many had both halves acknowledged."""
    acknowledged = 0
    for number in range(count):
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await world.both(f"{name}{number}", b'{"price": 1}', f"/{name}")
            acknowledged += 1
    return acknowledged


async def test_two_workers_are_one_service(redis_server: RedisServer, tmp_path: Path) -> None:
    """Workers share pairs, ledger and metrics. A reload reaches both, and other changes replace processes in turn."""
    config = settings(redis_server.url, store={"prefix": f"workers{time.monotonic_ns()}"}) | {"drain": "5s"}
    async with v2(echoes_the_path(lambda _path: b'{"price": 1}')) as port:
        config["targets"] = [target(port)]
        async with two_workers(tmp_path, config) as world:
            supervisor = world.service.process
            assert supervisor is not None
            before = children(supervisor.pid)
            assert WORKERS == len(before)
            assert PAIRS == await _pairs(world, "one")
            books = await world.until(pairs__match=PAIRS, mirrored__received=PAIRS, recorded__received=PAIRS)
            metrics = await metrics_of(world.service)
            agree(metrics, books)
            assert (WORKERS, 0) == (
                metrics["shadowdiff_workers", ()], metrics["shadowdiff_worker_crashes_total", ()]
            )  # fmt: skip

            world.service.config = config | {"targets": [target(port, rules=[{"ignore": "$.price"}])]}
            world.service.write()
            world.service.send(signal.SIGHUP)
            await until(lambda: len(lines_of(world.service, "config reloaded")) == WORKERS)
            assert before == children(supervisor.pid)

            world.service.config |= {"drain": "6s"}
            world.service.write()
            world.service.send(signal.SIGHUP)
            await until(lambda: lines_of(world.service, "all workers replaced"))
            after = children(supervisor.pid)
            assert (WORKERS, set[int]()) == (len(after), after & before)
            assert PAIRS == await _pairs(world, "two")
            books = await world.until(pairs__match=2 * PAIRS, unclean_exits=0)
            agree(await metrics_of(world.service), books)

            world.service.config = config | {"drain": "soon"}
            world.service.write()
            world.service.send(signal.SIGHUP)
            name = "shadowdiff_config_last_reload_successful"
            await metrics_where(world, lambda found: found[name, ()] == 0)
            (said,) = [line for line in world.service.log.splitlines() if "config reload failed" in line]
            assert "drain: " in said
            assert after == children(supervisor.pid)
            assert 0 == await asyncio.to_thread(world.service.stop)
            assert not any(map(command_of, after))


def _connections_of(pid: int, port: int) -> int:
    """Return how many connections to a port a process has accepted."""
    established, local = "01", f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(local) and row[3] == established}
    held = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held += str(each.readlink()) in inodes
    return held


async def test_connections_are_distributed_evenly(redis_server: RedisServer, tmp_path: Path) -> None:
    """Each worker gets a share of many open connections on either port, and serves them."""
    config = settings(redis_server.url, target(), store={"prefix": f"even{time.monotonic_ns()}"})
    async with two_workers(tmp_path, config) as world, contextlib.AsyncExitStack() as stack:
        supervisor = world.service.process
        assert supervisor is not None
        workers = children(supervisor.pid)
        for name in ("mirror", "records"):
            port = world.service.ports[name]
            for _ in range(CONNECTIONS):
                stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", port))))
            await until(lambda port=port: sum(_connections_of(pid, port) for pid in workers) == CONNECTIONS)
            held = {pid: _connections_of(pid, port) for pid in workers}
            # The kernel chooses by a hash of both addresses, like a fair coin.
            # One of two workers gets a quarter or less of two hundred connections once in 10^12 runs.
            assert min(held.values()) > CONNECTIONS / WORKERS / 2, held


async def test_workers_exit_with_their_supervisor(tmp_path: Path) -> None:
    """A killed supervisor leaves no process and no locked data folder."""
    config: dict[str, Any] = {"store": {"data_dir": str(tmp_path / "store")}, "targets": [target()]}
    async with two_workers(tmp_path, config) as world:
        supervisor = world.service.process
        assert supervisor is not None
        workers = children(supervisor.pid)
        assert WORKERS == len(workers)
        supervisor.kill()
        await asyncio.to_thread(supervisor.wait)
        await until(lambda: not any(map(command_of, workers)))
        await asyncio.to_thread(world.service.start)
        again = world.service.process
        assert again is not None
        assert WORKERS == len(children(again.pid))


def test_a_fatal_error_is_reported_once(tmp_path: Path) -> None:
    """A port in use ends the whole service with 2 and one line, even if the workers would share it."""
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


async def test_a_store_with_other_shards_stops_the_service(redis_server: RedisServer, tmp_path: Path) -> None:
    """An error that no restart fixes is reported and exits with 2, although the workers were ready."""
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
