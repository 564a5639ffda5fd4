"""HTTP/1.1 on the two intake ports, as a protocol class for uvicorn's server.

In: bytes of one connection.  Out: requests to an ASGI 3 application, its answers, in the order of the requests.
A request whose body has come whole goes to the application's `take_whole`, if it has one: no task, no queue, one
call and one write. All others go the ASGI way, their bodies as they arrive.
Holds: a head has a bound in bytes, fields and time, as have trailers and what stands between chunks; a body may not
stall, nor trickle for ever; what waits in memory of one connection is bounded: reading pauses until the application has
taken it, and until the peer has read its answers. All connections of a port have one bound more, and so has their
number. uvicorn's own protocol has none of these bounds.
A port that closes answers what is on its way by then: connections without a request linger for a moment, and each
answer says that its connection closes.
Source: RFC 9112; the parser is llhttp, as httptools binds it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

import httptools

from shadowdiff.intake.exchange import ACCEPTED, Exchange, Reply, Request
from shadowdiff.intake.held import FIELD_BYTES, Held, head_cost
from shadowdiff.intake.wire import address_of, head_of_answer, path_and_query

if TYPE_CHECKING:
    import uvicorn
    from uvicorn.server import ServerState

    from shadowdiff.intake.asgi import App, Scope
    from shadowdiff.intake.exchange import TakesWhole
    from shadowdiff.intake.headers import RawHeaders

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 256 << 10
"""Four times what Envoy lets through: a recorded response's own headers stand among a record's."""
MAX_FIELDS = 1000
"""Ten times Envoy's default; beside its bytes on the wire each takes as much again, or more, in memory."""
HEAD_WITHIN_S = 30.0
"""From a head's first byte to its last."""
STALLED_S = 60.0
"""A body of which nothing more came for so long is given up, and so are answers that nobody reads."""
REQUEST_WITHIN_S = 600.0
"""From a head's last byte to the body's: a sender that trickles would hold its share of memory for ever."""
LINGERS_S = 0.5
"""A connection without a request, as its port closes: a request may be on its way."""
_LOOK_EVERY_S = 5.0
_UNREAD_BYTES = 1 << 16
_DROPPED_BYTES = 64 << 20
"""Of a body that nobody wants, read so that its sender sees the answer; closing beside unread bytes resets it."""
_VERSIONS = frozenset({"1.0", "1.1"})
_WAITING_REQUESTS = 16
_MOST_WAITING = 64
"""Requests that may wait behind one another, of those that came in one read; what comes after is not looked at."""


_ACCEPTED_WIRE = head_of_answer(ACCEPTED.status, ACCEPTED.headers, keep_alive=True)
_FAULT = Reply(500, [(b"content-length", b"0")])
_FAILED = "answering a request failed"


class IntakeProtocol(asyncio.Protocol):
    """One connection. The first of `_requests` is being answered; behind it wait those that came pipelined."""

    __slots__ = (
        "_app", "_begun_bytes", "_client", "_expects_continue", "_head_bytes", "_head_since_s", "_headers", "_held",
        "_held_bytes", "_is_closing", "_is_deaf", "_is_unread", "_keep_alive_s", "_last_s", "_look", "_loop", "_parser",
        "_read_bytes", "_refusal", "_requests", "_scheme", "_server", "_state", "_task", "_transport",
        "_unparsed_bytes", "_url", "_wake", "_whole_app",
    )  # fmt: skip

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],  # noqa: ARG002 - uvicorn's signature; there is no lifespan here
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        held: Held | None = None,
    ) -> None:
        self._held = held or Held()
        self._held_bytes = self._read_bytes = self._begun_bytes = 0
        self._app = cast("App", config.loaded_app)
        self._whole_app = cast("TakesWhole | None", self._app if hasattr(self._app, "take_whole") else None)
        self._state = server_state
        self._keep_alive_s = config.timeout_keep_alive
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._requests: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._is_closing = False
        self._is_deaf = False  # nothing more is looked at: what came is answered, then the connection ends
        self._refusal = 0
        self._is_unread = False
        self._transport: asyncio.Transport
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int] | None = None
        self._scheme = "http"
        self._look: asyncio.TimerHandle | None = None
        self._last_s = self._loop.time()
        self._head_since_s = 0.0
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: RawHeaders = []
        self._head_bytes = self._unparsed_bytes = 0
        self._expects_continue = False

    # What the server calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._client = address_of(transport, "peername")
        self._server = address_of(transport, "sockname")
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        if len(self._state.connections) >= self._held.most_connections:
            logger.warning("a connection is closed: there are as many as may be", extra={"address": self._server})
            self._is_deaf = True
            self._transport.abort()
            return
        self._state.connections.add(self)  # pyright: ignore[reportArgumentType] - what uvicorn lists its own as
        self._look = self._loop.call_later(_LOOK_EVERY_S, self._look_after)
        if self._held.is_closing:
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse, and answer what is whole."""
        if self._is_deaf:
            return
        self._last_s = self._loop.time()
        self._read_bytes = len(data)
        self._unparsed_bytes += self._read_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nothing is upgraded to: the request is answered as any other, and the connection ends
        except httptools.HttpParserError:
            self._refuse(400)
        if self._unparsed_bytes > MAX_HEAD_BYTES:  # a head, trailers, chunk extensions, empty lines
            self._refuse(431)
        if (self._head_since_s or self._requests or self._unparsed_bytes or self._held_bytes) and not self._holds():
            self._refuse(431)
        if self._requests and self._task is None and not self.is_lost and not self._requests[0].is_dropped:
            self._start(self._requests[0])
        if len(self._requests) > _WAITING_REQUESTS and not self.is_lost:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Take no more requests of a peer that does not read its answers."""
        self._is_unread = True
        if not self.is_lost:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with a peer that reads again."""
        self._is_unread = False
        self._last_s = self._loop.time()
        self._read_again()

    def eof_received(self) -> None:
        """Leave the closing to the transport."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the end is what counts
        """Tell the application that nobody listens any more."""
        self._state.connections.discard(self)  # pyright: ignore[reportArgumentType]
        self._is_closing = True
        self._wake.set()
        self._held.change(self._held_bytes, 0)
        self._held_bytes = 0
        if self._look is not None:
            self._look.cancel()

    def shutdown(self) -> None:
        """End the connection after the request at hand, or after one that comes within a moment."""
        self._is_closing = True
        if not self._requests:
            self._loop.call_later(LINGERS_S, self._leave)

    def _leave(self) -> None:
        if not self._requests:
            self._transport.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a head."""
        if self._is_deaf:
            return
        self._begin()
        self._begun_bytes = self._read_bytes
        self._head_since_s = self._last_s

    def on_url(self, url: bytes) -> None:
        """Take a part of the request target."""
        if self._is_deaf:
            return
        self._url += url
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field; those of trailers are dropped."""
        if not self._head_since_s or self._is_deaf:
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
        """Put the request behind those that are being answered."""
        if self._is_deaf:
            return
        self._head_since_s = 0.0
        if len(self._requests) >= _MOST_WAITING:
            self._end_after_these(0)
            return
        parser = self._parser
        version = parser.get_http_version()
        if version not in _VERSIONS:  # llhttp takes a line without one for HTTP/0.9, and lets LF alone end that line
            self._refuse(400)
            return
        keep_alive = version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade()
        keep_alive = keep_alive and not self._is_closing and not self._held.is_closing
        raw_path, query = path_and_query(self._url)
        path = raw_path.decode("latin-1")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "root_path": "",
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
            "head_bytes": self._head_bytes,
        }
        expects = self._expects_continue and version != "1.0"  # who speaks 1.0 takes it for the answer
        self._requests.append(Request(scope, keep_alive, expects, since_s=self._last_s))

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body until the application takes it."""
        if self._is_deaf or not self._requests:
            return
        request = self._requests[-1]
        request.unread_bytes += len(part)
        self._unparsed_bytes = 0
        self._read_bytes -= len(part)
        if request.is_dropped:
            if request.unread_bytes > _DROPPED_BYTES:
                self._transport.close()
            return
        request.parts.append(part)
        if request.unread_bytes > _UNREAD_BYTES and not self.is_lost:
            self._transport.pause_reading()
        if len(self._requests) == 1:
            self._wake.set()

    def on_message_complete(self) -> None:
        """Answer at once where that is possible."""
        self._unparsed_bytes = 0
        if self._is_deaf or not self._requests:
            return
        request = self._requests[-1]
        request.is_whole = True
        if len(self._requests) > 1:
            return
        if request.is_dropped:
            self._requests.popleft()
            self._answered(request)
        elif self._task is not None:
            self._wake.set()
        elif self._whole_app is not None and not self.is_lost:
            self._answer_whole(self._whole_app, request)

    # How a request is answered.

    def _answer_whole(self, app: TakesWhole, request: Request) -> None:
        parts = request.parts
        try:
            reply = app.take_whole(request.scope, b"".join(parts) if parts else b"")
        except Exception:  # the connection's outer edge; the parser would take it for a fault of the request
            logger.exception(_FAILED, extra={"path": request.scope["path"]})
            reply, request.keep_alive = _FAULT, False
        if reply is None:
            return
        self._requests.popleft()
        if request.unread_bytes > _UNREAD_BYTES:  # its body came in one piece, and was long enough to pause for
            self._read_again()
        if reply is ACCEPTED and request.keep_alive:
            self._transport.write(_ACCEPTED_WIRE)
        else:
            body = b"" if request.scope["method"] == "HEAD" else reply.body
            self._transport.write(head_of_answer(reply.status, reply.headers, keep_alive=request.keep_alive) + body)
        self._answered(request)

    def _answered(self, request: Request) -> None:
        self._state.total_requests += 1
        if not request.keep_alive or (self._is_closing and not self._requests):
            self._is_closing = self._is_deaf = True
            self._requests.clear()
            self._transport.close()
        elif self._is_deaf and not self._requests:
            self._say_refused()

    def _start(self, request: Request) -> None:
        """Hand a request to the application the ASGI way."""
        self._wake.clear()
        self._task = self._loop.create_task(self._run(request))
        self._state.tasks.add(self._task)
        self._task.add_done_callback(self._state.tasks.discard)

    async def _run(self, request: Request) -> None:
        exchange = Exchange(self, request)
        try:
            await self._app(request.scope, exchange.receive, exchange.send)
        except Exception:  # the connection's outer edge
            logger.exception(_FAILED, extra={"path": request.scope["path"]})
        finally:
            self._task = None
        if not exchange.is_complete:
            request.keep_alive = False
            if not exchange.has_begun:
                self.write(head_of_answer(_FAULT.status, _FAULT.headers, keep_alive=False))
        elif not request.is_whole and not self.is_lost:
            request.is_dropped = True
            request.unread_bytes = 0
            self._read_again()
            return
        if self._requests and self._requests[0] is request:
            self._requests.popleft()
        self._answered(request)
        self._go_on()
        self._holds()

    def _go_on(self) -> None:
        """Answer what came pipelined, and read again."""
        while self._requests and self._task is None and not self.is_lost:
            request = self._requests[0]
            if request.is_whole and self._whole_app is not None:
                self._answer_whole(self._whole_app, request)
            if self._requests and self._requests[0] is request:
                self._start(request)
        self._read_again()

    def _read_again(self) -> None:
        """Read on, where the peer reads too."""
        if not self._is_unread and not self.is_lost:
            self._transport.resume_reading()

    def _refuse(self, status: int) -> None:
        """Answer what cannot be read, once what came whole before it is answered, and end the connection."""
        if self._is_deaf or self.is_lost:
            return
        last = self._requests[-1] if self._requests else None
        if last is not None and not last.is_whole:
            if last.is_dropped or (self._task is not None and len(self._requests) == 1):  # it has, or gets, its own
                self._is_closing = self._is_deaf = True
                self._wake.set()
                self._transport.close()
                return
            self._requests.pop()
        self._end_after_these(status)

    def _end_after_these(self, status: int) -> None:
        """Look at nothing more; answer what waits, then say `status`, if it is not 0, and end."""
        self._is_deaf = True
        self._head_since_s = 0.0
        self._refusal = status
        if not self._requests:
            self._say_refused()

    def _say_refused(self) -> None:
        self._is_closing = True
        if self._refusal:
            self._transport.write(head_of_answer(self._refusal, [(b"content-length", b"0")], keep_alive=False))
        self._transport.close()

    def _holds(self) -> bool:
        """Count what this connection holds now; return whether its port has room for it.

        What the parser keeps of the read at hand is not known: all of it that is no body counts.
        """
        held = 0
        if not self.is_lost:
            held = sum(head_cost(one.scope) for one in self._requests) + self._unparsed_bytes
            if self._head_since_s:
                held += self._begun_bytes + FIELD_BYTES * len(self._headers)
            elif self._requests and not self._requests[-1].is_whole:
                held += self._read_bytes
        was, self._held_bytes = self._held_bytes, held
        return self._held.change(was, held) or held <= was

    def _look_after(self) -> None:
        """End a connection that is idle, or whose sender stalls."""
        is_overdue = self._is_overdue(self._loop.time())
        if is_overdue and (self._is_unread or self.is_lost):
            self._transport.abort()  # a close waits for the peer to read
            return
        if is_overdue:
            self._transport.close()
        self._look = self._loop.call_later(_LOOK_EVERY_S, self._look_after)

    def _is_overdue(self, now_s: float) -> bool:
        waits_s = now_s - self._last_s
        if self._is_unread or self.is_lost:
            return waits_s > STALLED_S
        if self._head_since_s:
            return now_s - self._head_since_s > HEAD_WITHIN_S
        if not self._requests:
            return waits_s > self._keep_alive_s
        last = self._requests[-1]
        if last.is_whole or not self._transport.is_reading():
            return False
        return waits_s > STALLED_S or now_s - last.since_s > REQUEST_WITHIN_S

    # What an exchange on the ASGI way needs.

    async def more(self, request: Request) -> None:
        """Wait until more of the body has come, or its end, or the connection's."""
        while not request.parts and not request.is_whole and not self.is_lost:
            self._read_again()
            self._wake.clear()
            await self._wake.wait()

    def write(self, data: bytes) -> None:
        """Send a part of an answer, if anybody still listens."""
        if not self._transport.is_closing():
            self._transport.write(data)

    @property
    def is_lost(self) -> bool:
        """Whether nobody listens any more."""
        return self._transport.is_closing()
