"""Test one HTTP/1.1 connection to v2 over a transport that the test controls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shadowdiff.intake.connection import Connection, Response
from shadowdiff.model import Failure

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nok"


class Transport(asyncio.Transport):
    """Records what is written, and closes on `abort`."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: Any) -> None:
        """Record a request."""
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        """Return 0: everything is sent."""
        return 0

    def is_closing(self) -> bool:
        """Return whether the connection is closed."""
        return self.is_aborted

    def abort(self) -> None:
        """Close the connection."""
        self.is_aborted = True


class Released:
    """Counts how often the connection is released."""

    def __init__(self) -> None:
        self.count = 0
        self.transport = Transport()
        self.connection = Connection(asyncio.get_running_loop(), 100, self.release)
        self.connection.connection_made(self.transport)

    def release(self, _connection: Connection) -> None:
        """Count one release."""
        self.count += 1

    def begin(self, within_s: float) -> asyncio.Task[Response]:
        """Send a request."""
        until_s = asyncio.get_running_loop().time() + within_s
        return asyncio.ensure_future(self.connection.exchange(b"GET / HTTP/1.1\r\n\r\n", b"", until_s, is_head=False))

    async def exchange(self, *parts: bytes, within_s: float = 5.0) -> Response:
        """Send a request, and receive a response in these parts."""
        asked = self.begin(within_s)
        await asyncio.sleep(0)
        for part in parts:
            self.connection.data_received(part)
        return await asked


async def test_a_connection_is_released_after_each_response() -> None:
    """Field names are lower case, whatever case v2 uses."""
    held = Released()
    for _ in range(3):
        answer = await held.exchange(OK)
        assert (200, ((b"content-length", b"2"), (b"x-a", b"1")), b"ok") == (answer.status, answer.headers, answer.body)
    assert (3, False) == (held.count, held.transport.is_aborted)


async def test_each_exchange_has_its_own_deadline() -> None:
    """One timer serves all exchanges of a connection, for earlier and later deadlines."""
    loop = asyncio.get_running_loop()
    for first_s, second_s in ((0.03, 0.1), (5.0, 0.05)):
        held = Released()
        assert (await held.exchange(OK, within_s=first_s)).failure is None
        began_s = loop.time()
        async with asyncio.timeout(4.9):
            assert Failure.TIMEOUT is (await held.begin(second_s)).failure
        assert second_s - 0.01 <= loop.time() - began_s
        assert held.transport.is_aborted


async def test_an_idle_connection_survives_its_timer() -> None:
    """The deadline of a finished exchange closes nothing."""
    held = Released()
    await held.exchange(OK, within_s=0.01)
    await asyncio.sleep(0.03)
    assert (await held.exchange(OK)).failure is None


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n folded: of nothing\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx-a:\r\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx-a : 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx-a: \x01\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_head_that_envoy_refuses_is_malformed(head: bytes) -> None:
    """The lenient parser would accept the head, or read another response from it."""
    assert Failure.MALFORMED is (await Released().exchange(head)).failure


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\r\r\r\r",
        b"HTTP/1.1 200 OK\ncontent-length: 4\n\n\r\r\r\r",
        b"HTTP/1.1 200 OK\ncontent-length: 8\n\n\r\r\r\r\n\r\n\r",
    ],
)
async def test_doubled_carriage_returns_in_a_body_are_kept(answer: bytes) -> None:
    """Doubled carriage returns are only rejected in a head."""
    found = await Released().exchange(answer)
    assert (None, b"\r\r\r\r") == (found.failure, found.body[:4])


async def test_a_folded_field_is_one_value() -> None:
    """Envoy reads the same value from v1."""
    answer = await Released().exchange(b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 2\r\n\r\nok")
    assert (None, b"x-a") == (answer.failure, answer.headers[0][0])
    assert answer.headers[0][1].split() == [b"1", b"2"]
