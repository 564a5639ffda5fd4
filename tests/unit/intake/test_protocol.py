"""Test the states of a connection to an intake port, over a transport that the test controls."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from shadowdiff.intake.exchange import ACCEPTED, Reply
from shadowdiff.intake.protocol import IntakeProtocol

GET = b"GET /a HTTP/1.1\r\nhost: svc\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: svc\r\ncontent-length: 4\r\n\r\n"


class Transport(asyncio.Transport):
    """Records what is written, and whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        """Record a part of a response."""
        self.written += bytes(data)

    def is_closing(self) -> bool:
        """Return whether the connection was closed."""
        return self.is_closed

    def is_reading(self) -> bool:
        """Return that the socket is being read."""
        return True

    def pause_reading(self) -> None:
        """Ignore the pause, because the test controls what is sent."""

    def resume_reading(self) -> None:
        """Ignore the call, because the socket is always read."""

    def close(self) -> None:
        """Close the connection."""
        self.is_closed = True


class App:
    """An app that accepts whole requests immediately, and others through ASGI, some before their end."""

    def take_whole(self, scope: Any, body: bytes) -> Reply:
        """Accept a request."""
        assert (scope["path"], body) in {("/a", b""), ("/a", b"body")}
        return ACCEPTED

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the whole body, or nothing of a body that is sent to `/early`."""
        while scope["path"] != "/early" and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


class Connection:
    """A connection to the app."""

    def __init__(self) -> None:
        state: Any = SimpleNamespace(connections=set(), tasks=set(), total_requests=0)
        config: Any = SimpleNamespace(loaded_app=App(), timeout_keep_alive=5)
        self.transport = Transport()
        self.protocol = IntakeProtocol(config, state, {})
        self.protocol.connection_made(self.transport)

    async def send(self, data: bytes) -> str:
        """Send bytes, let the app run, and return the state."""
        self.protocol.data_received(data)
        for _ in range(5):
            await asyncio.sleep(0)
        state = repr(self.protocol).split()[1].rstrip(",")
        return f"{state}, closed" if self.transport.is_closed else state

    @property
    def statuses(self) -> list[str]:
        """Return the status of each response."""
        return [part[:3].decode() for part in self.transport.written.split(b"HTTP/1.1 ")[1:]]

    def end(self) -> None:
        """Lose the connection."""
        self.transport.close()
        self.protocol.connection_lost(None)


@pytest.mark.parametrize(
    ("parts", "states", "statuses"),
    [
        ([GET, GET], ["idle", "idle"], ["202", "202"]),
        ([GET + GET], ["idle"], ["202", "202"]),
        ([GET[:9], GET[9:]], ["head", "idle"], ["202"]),
        ([POST, b"bo", b"dy"], ["body", "body", "idle"], ["202"]),
        ([POST + b"body" + GET[:5]], ["head"], ["202"]),
        ([POST.replace(b"/a", b"/early"), b"bo", b"dy" + GET], ["discarding", "discarding", "idle"], ["202", "202"]),
        ([GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") + GET], ["stopped, closed"], ["202"]),
        ([GET + b"nonsense\r\n\r\n" + GET], ["stopped, closed"], ["202", "400"]),
        ([POST, b"bo", b""], ["body", "body", "body"], []),
    ],
)
async def test_each_state_follows_from_what_arrives(parts: list[bytes], states: list[str], statuses: list[str]) -> None:
    """Requests get responses in order, however the reads split them."""
    connection = Connection()
    assert (states, statuses) == ([await connection.send(part) for part in parts], connection.statuses)
    connection.end()


async def test_a_draining_connection_closes_after_its_request() -> None:
    """The response announces it, even for a request whose head arrived before the drain."""
    connection = Connection()
    await connection.send(GET[:9])
    connection.protocol.shutdown()
    assert "stopped, closed" == await connection.send(GET[9:])
    assert b"connection: close" in connection.transport.written
    connection.end()


async def test_a_lost_connection_stops() -> None:
    """The application sees the end of the current request."""
    connection = Connection()
    assert "body" == await connection.send(POST)
    connection.end()
    assert "stopped, closed" == await connection.send(GET)
