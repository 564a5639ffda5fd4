"""The demo uses a Redis on this machine, or a store in memory if there is no Redis."""

from __future__ import annotations

from pathlib import Path

import fakeredis
import pytest
from click.testing import CliRunner

from shadowdiff.demo import environment, memory_store
from shadowdiff.demo.process import DemoError
from shadowdiff.store.embedded_server import Program


def _install(monkeypatch: pytest.MonkeyPatch, *programs: Program) -> None:
    monkeypatch.setattr(environment, "find_servers", lambda: list(programs))


def test_a_redis_on_this_machine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo then runs as it does for users."""
    _install(monkeypatch, Program(Path("/usr/bin/redis-server"), "redis", (7, 0, 15)))
    assert ("shadowdiff", "serve") == environment.serve_command()


def test_without_a_redis_the_store_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `demo` installs fakeredis."""
    _install(monkeypatch)
    assert environment.IN_MEMORY == environment.serve_command()


def test_without_redis_and_extra_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence names Redis and the extra."""
    _install(monkeypatch)

    def nothing(_name: str) -> None:
        """Find no module."""

    monkeypatch.setattr(environment, "find_spec", nothing)
    with pytest.raises(DemoError, match=r"redis-server.*apt-get install.*shadowdiff\[demo\]"):
        environment.serve_command()


async def test_clients_of_one_server_see_the_same_data() -> None:
    """Every client of one server in memory reads what another wrote."""
    server = fakeredis.FakeServer()
    one, other = memory_store.memory_client(server), memory_store.memory_client(server)
    await one.set("a", "1")
    assert await other.get("a") == b"1"
    await one.aclose()
    await other.aclose()


def test_a_store_in_memory_serves_one_process() -> None:
    """Several workers cannot share it, and the error names the fix."""
    ran = CliRunner().invoke(memory_store.main, ["--config", "s.yaml", "--workers", "2"])
    assert 2 == ran.exit_code
    assert "several workers need a Redis" in ran.output
