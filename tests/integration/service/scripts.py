"""Scripted second versions: what v2 says to one request, as raw bytes over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import cast

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Given a request's head, writes what v2 answers; the connection stays open unless it closes it."""


def response(body: bytes = b"", status: str = "200 OK", *fields: str) -> bytes:
    """Return a whole HTTP/1.1 response."""
    lines = [f"HTTP/1.1 {status}", *fields]
    if not status.startswith("204"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(raw: bytes) -> Answer:
    """Return a v2 that answers everything with the same bytes."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


def echoes_the_path(of: Callable[[str], bytes]) -> Answer:
    """Return a v2 that answers JSON made of each request's path."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split(b" ")[1].decode()
        writer.write(response(of(path), "200 OK", "content-type: application/json"))

    return answer


async def silent(_head: bytes, writer: asyncio.StreamWriter) -> None:
    """Take the request and never answer, until the client leaves."""
    await writer.wait_closed()


async def resets(_head: bytes, writer: asyncio.StreamWriter) -> None:
    """Send half a body, then break the connection."""
    writer.write(response(b"x" * 1000)[:-500])
    await writer.drain()
    writer.transport.abort()


def chunked(body: bytes, *fields: str) -> bytes:
    """Return a chunked response, with chunks of 700 bytes."""
    head = "\r\n".join(["HTTP/1.1 200 OK", *fields, "transfer-encoding: chunked"]).encode() + b"\r\n\r\n"
    parts = [body[at : at + 700] for at in range(0, len(body), 700)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def zipped(body: bytes) -> bytes:
    """Return a body in gzip that is the same every time."""
    return gzip.compress(body, mtime=0)


@contextlib.asynccontextmanager
async def v2(answer: Answer, port: int = 0) -> AsyncGenerator[int]:
    """Serve `answer` for every request of every connection; yield the port."""
    connections: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(partial(_serve, answer, connections), "127.0.0.1", port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await end(connections)


async def end(connections: set[asyncio.Task[None]]) -> None:
    """End what serves connections, and wait until it did."""
    for task in tuple(connections):
        task.cancel()
    await asyncio.gather(*connections)


async def _serve(
    answer: Answer,
    connections: set[asyncio.Task[None]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    task = cast("asyncio.Task[None]", asyncio.current_task())
    connections.add(task)
    try:
        # The task's outer edge: asyncio's streams report a cancelled connection as an error of their own.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
    finally:
        connections.discard(task)
        writer.transport.abort()
