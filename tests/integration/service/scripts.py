"""Scripted v2 servers that send the raw bytes of a response over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import cast

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Gets the head of a request and writes v2's response; the connection stays open unless it closes it."""


def response(body: bytes = b"", status: str = "200 OK", *fields: str) -> bytes:
    """Return a complete HTTP/1.1 response."""
    lines = [f"HTTP/1.1 {status}", *fields]
    if not status.startswith("204"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def always(raw: bytes) -> Answer:
    """Return a v2 that sends the same bytes to every request."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


def echoes_the_path(of: Callable[[str], bytes]) -> Answer:
    """Return a v2 that responds with JSON made from each request's path."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split(b" ")[1].decode()
        writer.write(response(of(path), "200 OK", "content-type: application/json"))

    return answer


async def silent(_head: bytes, writer: asyncio.StreamWriter) -> None:
    """Read the request and never respond, until the client disconnects."""
    await writer.wait_closed()


async def resets(_head: bytes, writer: asyncio.StreamWriter) -> None:
    """Send half a body, then reset the connection."""
    writer.write(response(b"x" * 1000)[:-500])
    await writer.drain()
    writer.transport.abort()


def chunked(body: bytes, *fields: str) -> bytes:
    """Return a chunked response, with chunks of 700 bytes."""
    head = "\r\n".join(["HTTP/1.1 200 OK", *fields, "transfer-encoding: chunked"]).encode() + b"\r\n\r\n"
    parts = [body[at : at + 700] for at in range(0, len(body), 700)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def zipped(body: bytes) -> bytes:
    """Return a gzip body that is always the same."""
    return gzip.compress(body, mtime=0)


@contextlib.asynccontextmanager
async def v2(answer: Answer, port: int = 0) -> AsyncGenerator[int]:
    """Serve `answer` for every request on every connection; yield the port."""
    connections: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(partial(_serve, answer, connections), "127.0.0.1", port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await end(connections)


async def end(connections: set[asyncio.Task[None]]) -> None:
    """Stop a server task, and wait for it."""
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
        # asyncio's streams report a cancelled connection as an error, so this task must suppress it.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
    finally:
        connections.discard(task)
        writer.transport.abort()
