"""Implement HTTP/1.1 for the two intake ports, as a protocol class for uvicorn's server.

A request whose body has arrived goes to the application's `take_whole`: one call and one write, without a task. Other
requests become ASGI calls, with responses in order. Unlike uvicorn's own protocol, this one limits the size and time of
heads, bodies, pipelined requests and unread responses, and the number and memory of connections per port.
Source: RFC 9112. The parser is llhttp, through httptools.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

import httptools

from shadowdiff.intake.exchange import (
    ACCEPTED,
    FIELD_BYTES,
    PortMemoryBudget,
    Reply,
    Request,
    head_cost,
    path_and_query,
    response_head,
)  # fmt: skip

if TYPE_CHECKING:
    import uvicorn
    from uvicorn.server import ServerState

    from shadowdiff.intake.exchange import App, RawHeaders, Scope

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 256 << 10
"""Four times Envoy's limit, because the head of a record contains the fields of the recorded response."""
MAX_FIELDS = 1000
"""Ten times Envoy's default. In memory a field takes at least twice its bytes on the wire."""
HEAD_WITHIN_S = 30.0
"""The maximum time from the first byte of a head to its last."""
STALLED_S = 60.0
"""The maximum time without progress, while a body arrives or the peer reads responses."""
REQUEST_WITHIN_S = 600.0
"""The maximum time from the last byte of a head to the end of the body, which bounds a slow sender."""
LINGERS_S = 0.5
"""How long a connection without a request stays open while its port closes: a request may be on its way."""
_CHECK_EVERY_S = 5.0
_UNREAD_BYTES = 1 << 16
_DISCARDED_BYTES = 64 << 20
"""How much is read and discarded after the response. Closing a connection with unread bytes would reset it."""
_VERSIONS = frozenset({"1.0", "1.1"})
_WAITING_REQUESTS = 16
_MOST_WAITING = 64
"""The maximum number of pipelined requests in one read. Later ones are ignored."""

_ACCEPTED_WIRE = response_head(ACCEPTED.status, ACCEPTED.headers, keep_alive=True)
_SERVER_ERROR = Reply(500, [(b"content-length", b"0")])
_FAILED = "request handler failed"

ReadState = Enum("ReadState", ["IDLE", "HEAD", "BODY", "DISCARDING", "STOPPED"])
"""What a connection reads next.

IDLE → HEAD → BODY → IDLE: one request. Its response may be sent as soon as the head has arrived.
BODY → DISCARDING → IDLE: the response was sent first; the rest of the body is thrown away.
any → STOPPED: input is ignored. The connection closes after the responses to the requests that it has read.
"""
IDLE, HEAD, BODY, DISCARDING, STOPPED = ReadState
"""Module-level names, because each header field needs a lookup."""


class IntakeProtocol(asyncio.Protocol):
    """One connection. `_requests` has the current request, then the pipelined requests."""

    __slots__ = (
        "_app", "_begun_bytes", "_budget", "_check", "_client", "_expects_continue", "_head_bytes", "_head_since_s",
        "_headers", "_held_bytes", "_is_draining", "_is_write_paused", "_keep_alive_s", "_last_s", "_loop", "_parser",
        "_read_bytes", "_reading", "_refusal", "_requests", "_server_state", "_task", "_transport", "_unparsed_bytes",
        "_url", "_wake",
    )  # fmt: skip

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],  # noqa: ARG002 - uvicorn's signature; there is no lifespan here
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        budget: PortMemoryBudget | None = None,
    ) -> None:
        self._budget = budget or PortMemoryBudget()
        self._held_bytes = self._read_bytes = self._begun_bytes = 0
        self._app = cast("App", config.loaded_app)
        self._server_state = server_state
        self._keep_alive_s = config.timeout_keep_alive
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._requests: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._reading = IDLE
        self._refusal = 0
        self._is_draining = self._is_write_paused = False
        self._transport: asyncio.Transport
        self._client: tuple[str, int] | None = None
        self._check: asyncio.TimerHandle | None = None
        self._last_s = self._loop.time()
        self._begin_head()

    def __repr__(self) -> str:
        return f"<IntakeProtocol {self._reading.name.lower()}, {len(self._requests)} requests>"

    def _begin_head(self) -> None:
        self._url = b""
        self._headers: RawHeaders = []
        self._head_bytes = self._unparsed_bytes = 0
        self._expects_continue = False
        self._begun_bytes = self._read_bytes
        self._head_since_s = self._last_s

    # The event loop and the server call this method.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection if the port has room for it."""
        self._transport = cast("asyncio.Transport", transport)
        peer: tuple[str, int] | str | None = transport.get_extra_info("peername")
        self._client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        if len(self._server_state.connections) >= self._budget.most_connections:
            address = transport.get_extra_info("sockname")[:2]
            logger.warning("connection limit reached; closing connection", extra={"address": address})
            self._reading = STOPPED
            self._transport.abort()
            return
        self._server_state.connections.add(self)  # pyright: ignore[reportArgumentType] - uvicorn lists its own class
        self._check = self._loop.call_later(_CHECK_EVERY_S, self._check_progress)
        if self._budget.is_closing:
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse data, and respond to the requests that have arrived."""
        if self._reading is STOPPED:
            return
        self._last_s = self._loop.time()
        self._read_bytes = len(data)
        self._unparsed_bytes += self._read_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # respond without an upgrade, then close the connection
        except httptools.HttpParserError:
            self._refuse(400)
        if self._unparsed_bytes > MAX_HEAD_BYTES:  # a head, trailers, chunk extensions, empty lines
            self._refuse(431)
        if (self._requests or self._unparsed_bytes or self._held_bytes or self._reading is HEAD) and not self._hold():
            self._refuse(431)
        if self._requests and self._task is None and self._reading is not DISCARDING and not self.is_lost:
            self._start(self._requests[0])
        if len(self._requests) > _WAITING_REQUESTS and not self.is_lost:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Stop reading from a peer that does not read its responses."""
        self._is_write_paused = True
        if not self.is_lost:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading, because the peer has read its responses."""
        self._is_write_paused = False
        self._last_s = self._loop.time()
        self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """Release the connection's memory, and wake the ASGI call."""
        self._server_state.connections.discard(self)  # pyright: ignore[reportArgumentType]
        self._reading = STOPPED
        self._wake.set()
        self._budget.change(self._held_bytes, 0)
        self._held_bytes = 0
        if self._check is not None:
            self._check.cancel()

    def shutdown(self) -> None:
        """Close after the current request, or after one that arrives within a moment."""
        self._is_draining = True
        if not self._requests:
            self._loop.call_later(LINGERS_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._requests:
            self._transport.close()

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Begin a head."""
        if self._reading is not STOPPED:
            self._reading = HEAD
            self._begin_head()

    def on_url(self, url: bytes) -> None:
        """Add a part of the request target."""
        if self._reading is not HEAD:
            return
        self._url += url
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a field of the head. Trailers are ignored."""
        if self._reading is not HEAD:
            return
        name = name.lower()
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES or len(self._headers) >= MAX_FIELDS:
            self._refuse(431)
            return
        if name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Queue the request."""
        if self._reading is not HEAD:
            return
        self._reading = BODY
        if len(self._requests) >= _MOST_WAITING:
            self._stop_reading(0)
            return
        parser = self._parser
        version = parser.get_http_version()
        if version not in _VERSIONS:  # llhttp reads a line without a version as HTTP/0.9
            self._refuse(400)
            return
        keep_alive = version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade()
        keep_alive = keep_alive and not self._is_draining and not self._budget.is_closing
        raw_path, query = path_and_query(self._url)
        path = raw_path.decode("latin-1")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "client": self._client,
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
            "head_bytes": self._head_bytes,
        }
        expects = self._expects_continue and version != "1.0"  # an HTTP/1.0 client would take 100 as the response
        self._requests.append(Request(self, scope, keep_alive, expects, self._last_s))

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body until the application reads it."""
        if self._reading is not BODY and self._reading is not DISCARDING:
            return
        request = self._requests[-1]
        request.unread_bytes += len(part)
        self._unparsed_bytes = 0
        self._read_bytes -= len(part)
        if self._reading is DISCARDING:
            if request.unread_bytes > _DISCARDED_BYTES:
                self._transport.close()
            return
        request.parts.append(part)
        if request.unread_bytes > _UNREAD_BYTES and not self.is_lost:
            self._transport.pause_reading()
        if len(self._requests) == 1:
            self._wake.set()

    def on_message_complete(self) -> None:
        """Respond to the request immediately if the application can."""
        self._unparsed_bytes = 0
        state = self._reading
        if state is STOPPED:
            return
        self._reading = IDLE
        if state is DISCARDING:
            self._answered(self._requests.popleft())
            return
        request = self._requests[-1]
        request.is_whole = True
        if len(self._requests) > 1:
            return
        if self._task is not None:
            self._wake.set()
        elif not self.is_lost:
            self._answer_whole(request)

    # Responses.

    def _answer_whole(self, request: Request) -> None:
        parts = request.parts
        try:
            reply = self._app.take_whole(request.scope, b"".join(parts) if parts else b"")
        except Exception:  # outermost handler; the parser would report a malformed request
            logger.exception(_FAILED, extra={"path": request.scope["path"]})
            reply, request.keep_alive = _SERVER_ERROR, False
        if reply is None:
            return
        self._requests.popleft()
        if request.unread_bytes > _UNREAD_BYTES:  # one read returned so much of the body that reading pauses
            self._resume_reading()
        if reply is ACCEPTED and request.keep_alive:
            self._transport.write(_ACCEPTED_WIRE)
        else:
            body = b"" if request.scope["method"] == "HEAD" else reply.body
            self._transport.write(response_head(reply.status, reply.headers, keep_alive=request.keep_alive) + body)
        self._answered(request)

    def _answered(self, request: Request) -> None:
        self._server_state.total_requests += 1
        if not request.keep_alive or (self._is_draining and not self._requests):
            self._reading = STOPPED
            self._requests.clear()
            self._transport.close()
        elif self._reading is STOPPED and not self._requests:
            self._send_refusal()

    def _start(self, request: Request) -> None:
        self._wake.clear()
        self._task = self._loop.create_task(self._run(request))
        self._server_state.tasks.add(self._task)
        self._task.add_done_callback(self._server_state.tasks.discard)

    async def _run(self, request: Request) -> None:
        try:
            await self._app(request.scope, request.receive, request.send)
        except Exception:  # outermost handler of the connection
            logger.exception(_FAILED, extra={"path": request.scope["path"]})
        finally:
            self._task = None
        if not request.is_answered:
            request.keep_alive = False
            if not request.has_response:
                self.write(response_head(_SERVER_ERROR.status, _SERVER_ERROR.headers, keep_alive=False))
        elif not request.is_whole and not self.is_lost:
            self._reading = DISCARDING
            request.unread_bytes = 0
            self._resume_reading()
            return
        if self.is_lost:
            self._reading = STOPPED
        if self._requests and self._requests[0] is request:
            self._requests.popleft()
        self._answered(request)
        self._answer_next()
        self._hold()

    def _answer_next(self) -> None:
        while self._requests and self._task is None and not self.is_lost:
            request = self._requests[0]
            if request.is_whole:
                self._answer_whole(request)
            if self._requests and self._requests[0] is request:
                self._start(request)
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not self._is_write_paused and not self.is_lost:
            self._transport.resume_reading()

    def _refuse(self, status: int) -> None:
        """Respond to the requests before an unreadable request, then send `status` and close."""
        if self._reading is STOPPED or self.is_lost:
            return
        last = self._requests[-1] if self._requests else None
        if last is not None and not last.is_whole:
            if self._reading is DISCARDING or (self._task is not None and len(self._requests) == 1):
                self._reading = STOPPED  # the request gets a separate response
                self._wake.set()
                self._transport.close()
                return
            self._requests.pop()
        self._stop_reading(status)

    def _stop_reading(self, status: int) -> None:
        """Respond to the queued requests, then send `status` if it is not 0, and close."""
        self._reading = STOPPED
        self._refusal = status
        if not self._requests:
            self._send_refusal()

    def _send_refusal(self) -> None:
        if self._refusal:
            self.write(response_head(self._refusal, [(b"content-length", b"0")], keep_alive=False))
        self._transport.close()

    # Limits.

    def _hold(self) -> bool:
        """Count the memory of this connection; return whether the port has room for it.

        The parser does not report how much of the current read it keeps, so everything except the body counts.
        """
        held = 0
        if not self.is_lost:
            held = sum(head_cost(one.scope) for one in self._requests) + self._unparsed_bytes
            if self._reading is HEAD:
                held += self._begun_bytes + FIELD_BYTES * len(self._headers)
            elif self._requests and not self._requests[-1].is_whole:
                held += self._read_bytes
        was, self._held_bytes = self._held_bytes, held
        return self._budget.change(was, held) or held <= was

    def _check_progress(self) -> None:
        if self._is_overdue(self._loop.time()):
            if self._is_write_paused or self.is_lost:
                self._transport.abort()  # `close` would wait for the peer to read
                return
            self._transport.close()
        self._check = self._loop.call_later(_CHECK_EVERY_S, self._check_progress)

    def _is_overdue(self, now_s: float) -> bool:
        waits_s = now_s - self._last_s
        if self._is_write_paused or self.is_lost:
            return waits_s > STALLED_S
        if self._reading is HEAD:
            return now_s - self._head_since_s > HEAD_WITHIN_S
        if not self._requests:
            return waits_s > self._keep_alive_s
        last = self._requests[-1]
        if last.is_whole or not self._transport.is_reading():
            return False
        return waits_s > STALLED_S or now_s - last.since_s > REQUEST_WITHIN_S

    # Methods for an ASGI call.

    async def more(self, request: Request) -> None:
        """Wait until more of the body arrives, or the request or the connection ends."""
        while not request.parts and not request.is_whole and not self.is_lost:
            self._resume_reading()
            self._wake.clear()
            await self._wake.wait()

    def write(self, data: bytes) -> None:
        """Send a part of a response, unless the connection is closing."""
        if not self._transport.is_closing():
            self._transport.write(data)

    @property
    def is_lost(self) -> bool:
        """Whether the connection is closed or closing."""
        return self._transport.is_closing()
