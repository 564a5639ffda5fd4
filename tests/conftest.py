"""Shared fixtures of all test tiers: required tools, a real Redis, and free ports.

Tests whose tool is missing are skipped, and the summary has the reason. If CI=true, these tests fail.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

with suppress(ImportError):
    # Import LuaJIT first: all Lua modules use the libraries of the first, and only LuaJIT has `bit`.
    import lupa.luajit21  # noqa: F401  # pyright: ignore[reportUnusedImport, reportMissingImports]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.redis_cluster import RedisCluster

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
"""A machine under load draws and runs slowly, which says nothing of what is tested."""
ROOT = Path(__file__).parent.parent
_ANSWER_WITHIN_S = 60.0


class RedisServer(NamedTuple):
    """A running Redis server, with the URLs of its socket and its port."""

    pid: int
    port: int
    socket: Path

    @property
    def url(self) -> str:
        """Return the URL with the loopback port."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Return the URL with the unix socket."""
        return f"unix://{self.socket}?db=0"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, which enables the long forms of the tests."""
    parser.addoption("--long", action="store_true", help="run the tests marked deep too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the long forms of the tests unless `--long` is given."""
    if config.getoption("--long"):
        return
    deep = [item for item in items if item.get_closest_marker("deep")]
    config.hook.pytest_deselected(items=deep)
    items[:] = [item for item in items if item not in deep]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the measurements of the tests if the output is verbose."""
    if not config.getoption("--long") and config.get_verbosity() <= 0:
        return
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "figures":
                terminalreporter.write_line(f"{report.nodeid}: {value}")


def needs_tool(name: str) -> str:
    """Return the path of a program. If it is missing, skip the test, or fail if CI=true."""
    sibling = Path(sys.executable).parent / name
    found = str(sibling) if sibling.is_file() else shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI=true asks for every tool", pytrace=False)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(name="needs_tool", scope="session")
def needs_tool_fixture() -> Callable[[str], str]:
    """Return `needs_tool`, for tests that do not import the function."""
    return needs_tool


_PORTS = range(12_000, 32_000)
"""Below the ephemeral ports of systems: no outgoing connection takes a port before it is used."""
_given: set[int] = set()


def free_port_number() -> int:
    """Return a loopback port that has no listener and that no other process of this test run uses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = random.choice(_PORTS[worker::workers])
        with socket.socket() as probe, suppress(OSError):
            if port not in _given:
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


@pytest.fixture
def free_port() -> int:
    """Return a loopback port without a listener."""
    return free_port_number()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a redis-server without persistence. Each test flushes the data, or uses its own key prefix."""
    program = needs_tool("redis-server")
    folder = tmp_path_factory.mktemp("redis")
    port = free_port_number()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(folder / "r.sock")]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder), "--logfile", str(folder / "redis.log")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            server = RedisServer(process.pid, port, folder / "r.sock")
            _wait_until_it_answers(server, process, folder / "redis.log")
            yield server
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Run a Redis Cluster of three masters for the session. Each test flushes the data, or uses its own key prefix."""
    from tests.redis_cluster import RedisCluster

    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"), replicas=0)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _wait_until_it_answers(server: RedisServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            if link.recv(7) == b"+PONG\r\n":
                return
        time.sleep(0.02)
    pytest.fail(f"redis-server did not answer:\n{log.read_text() if log.exists() else ''}")
