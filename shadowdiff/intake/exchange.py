"""Requests and responses on the intake ports, and the two ways in which an application responds.

The service may respond immediately, without a task, to a request that is complete (`take_whole`). Any other request
becomes an ASGI 3 call, whose two callables are methods of `Request`. A budget limits the total memory of all
connections of one port, so many small requests take no more memory than a large request.
Source: ASGI 3, HTTP connection scope; RFC 9112, sections 3.2 and 4.
"""

from __future__ import annotations

import http
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

RawHeaders = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

FIELD_BYTES = 112
"""The memory of a short field in addition to its bytes: a pair, two byte strings, and a list item."""
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}


class Reply(NamedTuple):
    """A whole response."""

    status: int
    headers: RawHeaders
    body: bytes = b""


ACCEPTED = Reply(202, [(b"content-length", b"0")])


class App(Protocol):
    """An ASGI 3 application that can respond to a whole request immediately."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        ...

    def take_whole(self, scope: Scope, body: bytes) -> Reply | None:
        """Return the response to a request; None means that the application needs an ASGI call."""
        ...


class Connection(Protocol):
    """The connection that a request arrived on."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    async def more(self, request: Request) -> None:
        """Wait until more of the request's body arrived."""
        ...


@dataclass(eq=False)
class Request:
    """One request, with the parts that have arrived, and the state of its response.

    unread_bytes: body bytes that the application has not read; while the rest is discarded, the discarded bytes.
    since_s: the time when the head was complete, on the loop's clock.
    """

    connection: Connection
    scope: Scope
    keep_alive: bool
    expects_continue: bool
    since_s: float
    parts: list[bytes] = field(default_factory=list[bytes])
    unread_bytes: int = field(default=0, init=False)
    is_whole: bool = field(default=False, init=False)
    has_response: bool = field(default=False, init=False)
    is_answered: bool = field(default=False, init=False)
    _head: bytes = field(default=b"", init=False)

    async def receive(self) -> Message:
        """Return the next part of the body, or the event that the connection has ended."""
        if self.expects_continue and not self.parts and not self.is_whole:
            self.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.expects_continue = False
        await self.connection.more(self)
        if not self.parts and not self.is_whole:  # the connection has ended
            return {"type": "http.disconnect"}
        body = b"".join(self.parts)
        self.parts.clear()
        self.unread_bytes = 0
        return {"type": "http.request", "body": body, "more_body": not self.is_whole}

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self._head = response_head(message["status"], message["headers"], keep_alive=self.keep_alive)
            return
        body = b"" if self.scope["method"] == "HEAD" else message.get("body", b"")
        self.connection.write(self._head + body)
        self._head = b""
        self.has_response = True
        self.is_answered = not message.get("more_body", False)


async def answer_other(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to the lifespan protocol, and reject WebSockets; neither is an HTTP request."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})


def response_head(status: int, headers: RawHeaders, *, keep_alive: bool) -> bytes:
    """Return the bytes of a response before its body."""
    lines = [b"%b: %b\r\n" % each for each in headers]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    return b"".join((_STATUS_LINES[status], *lines, b"\r\n"))


def path_and_query(url: bytes) -> tuple[bytes, bytes]:
    """Return the path and query of a request target in any of its four forms."""
    if url[:1] != b"/" and b"://" in url:
        after = url.partition(b"://")[2]
        slash = after.find(b"/")
        url = after[slash:] if slash >= 0 else b"/" + after[after.find(b"?") :] if b"?" in after else b"/"
    path, _, query = url.partition(b"?")
    return path, query


def head_cost(scope: Scope) -> int:
    """Return the memory that a head takes: `head_bytes` counts the names, values and request target of the head."""
    cost: int = scope.get("head_bytes", 0) + FIELD_BYTES * len(scope["headers"])
    return cost


@dataclass(slots=True)
class PortMemoryBudget:
    """The memory of one port's connections in one process. is_closing: the port accepts its last requests.

    most_bytes: the limit for incomplete requests; the default is far above what a mesh sends at the same time.
    """

    most_connections: int = 16_384
    most_bytes: int = 64 << 20
    bytes: int = 0
    is_closing: bool = False

    def change(self, was: int, now: int) -> bool:
        """Replace one connection's old memory size with the new one; return whether the total is within the limit."""
        self.bytes += now - was
        return self.bytes <= self.most_bytes
