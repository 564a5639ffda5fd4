"""Test the shared fixtures: missing tools, a real Redis, and free ports."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class _Redis(Protocol):
    """The part of the session's Redis that these tests use."""

    @property
    def socket(self) -> Path: ...


@pytest.mark.parametrize(("ci", "expected"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_tool_skips_tests_or_fails_if_all_tools_are_required(
    needs_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, ci: str, expected: type[BaseException]
) -> None:
    """The reason names the tool; CI=true turns the skip into a failure."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(expected, match="no-such-program is not installed"):
        needs_tool("no-such-program")


def test_a_tool_next_to_this_python_is_found(needs_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that a wheel installed need not be on PATH."""
    monkeypatch.setenv("PATH", "")
    assert needs_tool("pytest").endswith("/pytest")


def test_the_redis_of_the_session_answers_on_its_socket(redis_server: _Redis) -> None:
    """The fixture yields only once the server answers."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        link.connect(str(redis_server.socket))
        link.sendall(b"PING\r\n")
        assert link.recv(16) == b"+PONG\r\n"


def test_a_free_port_can_be_bound(free_port: int) -> None:
    """The port has no listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port))
