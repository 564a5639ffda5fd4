"""What the web and metrics ports bound that uvicorn does not."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
import uvicorn

from shadowdiff.service import bounded
from shadowdiff.service.bounded import BoundedProtocol
from tests.integration.intake.scripted import exchange, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nhost: s\r\n"
LAST = GET + b"connection: close\r\n\r\n"
LONG = 16 << 20
"""More than the kernel's buffers take for a peer that does not read."""


@contextlib.asynccontextmanager
async def served() -> AsyncGenerator[uvicorn.Server]:
    """Serve an application that names the headers it was given; at /long its answer is long."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(5):  # so that it asks when all that came at once was read
            await asyncio.sleep(0)
        while (await receive()).get("more_body"):
            pass
        body = b"x" * LONG if scope["path"] == "/long" else b" ".join(name for name, _ in scope["headers"])
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=BoundedProtocol, ws="none", lifespan="off", log_config=None,
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


async def test_a_trailer_is_no_header() -> None:
    """In one piece with the head or behind it: a proxy that strips `x-forwarded-user` may let the trailer through."""
    head = b"POST / HTTP/1.1\r\nhost: s\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    async with served() as server:
        number = _number(server)
        answer = await exchange(number, head + b"1\r\nx\r\n0\r\nx-forwarded-user: root\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nhost connection transfer-encoding")


@pytest.mark.parametrize(("count", "status"), [(150, b"200"), (201, b"400")])
async def test_a_head_has_so_many_fields_and_no_more(count: int, status: bytes) -> None:
    """Each takes far more in memory than on the wire."""
    async with served() as server:
        number = _number(server)
        answer = await exchange(number, GET + b"a: b\r\n" * count + b"connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status)


async def test_who_comes_late_is_served_in_the_place_of_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held connections keep no probe out: the one that was not heard of for longest gives way."""
    monkeypatch.setattr(bounded, "MOST_CONNECTIONS", 3)
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


async def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be held in memory for as long as its peer likes."""
    monkeypatch.setattr(bounded, "UNREAD_S", 0.05)
    monkeypatch.setattr(bounded, "_LOOK_EVERY_S", 0.02)
    async with served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", _number(server), limit=1024)
        writer.write(b"GET /long HTTP/1.1\r\nhost: s\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")  # and nothing more
        await until(lambda: not server.server_state.connections, "the connection is given up")
        writer.transport.abort()


async def test_a_connection_that_ends_under_a_request_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Behind two requests something that is none: the first asks for its body when all is over."""
    async with served() as server:
        answer = await exchange(_number(server), GET + b"\r\n" + GET + b"\r\n" + b"\0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        await until(lambda: not server.server_state.tasks, "the request has ended")
    assert [] == [record.message for record in caplog.records if record.levelname == "ERROR"]
