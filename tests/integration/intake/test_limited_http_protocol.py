"""Test limits of the web and metrics ports that uvicorn does not have."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
import uvicorn

from shadowdiff.service import limited_http_protocol
from shadowdiff.service.limited_http_protocol import LimitedHttpProtocol
from tests.integration.intake.scripted import exchange, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nhost: s\r\n"
LAST = GET + b"connection: close\r\n\r\n"
LONG = 16 << 20
"""More than the kernel's buffers hold for a peer that does not read."""


@contextlib.asynccontextmanager
async def served() -> AsyncGenerator[uvicorn.Server]:
    """Serve an application that returns the names of its request headers; /long has a long response."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(5):  # reads the body after everything sent at once was parsed
            await asyncio.sleep(0)
        while (await receive()).get("more_body"):
            pass
        body = b"x" * LONG if scope["path"] == "/long" else b" ".join(name for name, _ in scope["headers"])
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=LimitedHttpProtocol, ws="none", lifespan="off", log_config=None,
        access_log=False, proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server._serve())  # pyright: ignore[reportPrivateUsage] - takes no signals
        await until(lambda: server.started, "uvicorn")
        try:
            yield server
        finally:
            server.should_exit = True
            await serving


def _number(server: uvicorn.Server) -> int:
    number: int = server.servers[0].sockets[0].getsockname()[1]
    return number


async def test_a_trailer_is_not_a_header() -> None:
    """A proxy that strips `x-forwarded-user` may not strip a trailer with this name, in any packet."""
    head = b"POST / HTTP/1.1\r\nhost: s\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    async with served() as server:
        number = _number(server)
        answer = await exchange(number, head + b"1\r\nx\r\n0\r\nx-forwarded-user: root\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nhost connection transfer-encoding")


@pytest.mark.parametrize(("count", "status"), [(150, b"200"), (201, b"400")])
async def test_the_fields_of_a_head_are_limited(count: int, status: bytes) -> None:
    """Each field takes far more memory than bytes on the wire."""
    async with served() as server:
        number = _number(server)
        answer = await exchange(number, GET + b"a: b\r\n" * count + b"connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_new_connection_replaces_the_longest_idle_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held connections do not block probes, because the one that was silent longest is closed."""
    monkeypatch.setattr(limited_http_protocol, "MOST_CONNECTIONS", 3)
    async with served() as server:
        number = _number(server)
        held = [await asyncio.open_connection("127.0.0.1", number) for _ in range(3)]
        for _, writer in held:
            writer.write(GET)
        assert b" 200 " in await exchange(number, LAST)
        reading = [asyncio.create_task(reader.read()) for reader, _ in held]
        done, _ = await asyncio.wait(reading, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert 1 == len(done)
        for _, writer in held:
            writer.transport.abort()
        await asyncio.gather(*reading, return_exceptions=True)


async def test_an_unread_response_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unread response is dropped, so it does not stay in memory."""
    monkeypatch.setattr(limited_http_protocol, "UNREAD_S", 0.05)
    monkeypatch.setattr(limited_http_protocol, "_CHECK_EVERY_S", 0.02)
    async with served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", _number(server), limit=1024)
        writer.write(b"GET /long HTTP/1.1\r\nhost: s\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")  # and no other response
        await until(lambda: not server.server_state.connections, "the connection is given up")
        writer.transport.abort()


async def test_a_connection_closed_during_a_request_is_not_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """An invalid request follows two valid ones. The first reads its body after the connection closed."""
    async with served() as server:
        answer = await exchange(_number(server), GET + b"\r\n" + GET + b"\r\n" + b"\0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        await until(lambda: not server.server_state.tasks, "the request has ended")
    assert [] == [record.message for record in caplog.records if record.levelname == "ERROR"]
