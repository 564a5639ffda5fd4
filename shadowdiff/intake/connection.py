"""HTTP/1.1 connections to v2 and the control: each carries one exchange at a time, and a pool keeps idle connections.

An exchange always returns a `Response`, with the failure if the exchange failed. Heads, bodies and chunk framing have
size limits, and the exchange has a deadline. A connection that is not clearly reusable is closed. Idle connections are
closed before servers usually close them, and their number is limited. The parser is llhttp, through httptools. Like
Envoy, it accepts folded fields, lines that end in LF alone, and spaces after a chunk's size (measured with Envoy 1.40).
Source: RFC 9112, sections 6.3 (where a body ends) and 9.3 (which connections persist).
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import httptools

from shadowdiff.intake.connect import CONNECTION_AGE_S, DEFAULT_TLS, ClientConnection, Connector, failure_of
from shadowdiff.model import Failure, Headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.intake.client_tls import ClientTls
    from shadowdiff.intake.connect import Origin

IDLE_CONNECTION_S: Final = 1.5
"""How long an idle connection is reused. Servers usually allow 2 s or more, so v2 rarely closes a connection in use."""
MOST_IDLE: Final = 1024
MAX_HEAD_BYTES = 1 << 16
FIELD_BYTES = 32
"""Added to the length of each name and value, so that many small fields take no more memory than a few long ones.
Source: RFC 9113, section 10.5.1."""
_SWITCHING_PROTOCOLS = 101
_OK = 200
_BODILESS = frozenset({204, 304})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_CONTROL = bytes([*range(9), *range(10, 32), 127])
"""Control characters. Envoy rejects them in a value, and a space before the colon; a lenient parser accepts both."""
_HEAD_END = re.compile(rb"\n\r?\n")
_TIMER_TOLERANCE_S = 0.001
"""uvloop's timers count whole milliseconds."""
_REMEMBERED_NAMES = 1024
_REMEMBERED_NAME_BYTES = 64
_lower_names: dict[bytes, bytes] = {}
"""Field names without a space, by the spelling received. A bounded cache."""
_CHUNKED = -2
_UNDECLARED = -1


@dataclass(slots=True)
class Response:
    """The received part of a response; `body_bytes` is its full size if that is known.

    is_unanswered: the connection ended before the first byte; v2 may have closed it before the request arrived.
    """

    status: int = 0
    headers: Headers = ()
    trailers: Headers = ()
    body: bytes = b""
    body_bytes: int = 0
    failure: Failure | None = None
    is_unanswered: bool = False


class Connection(ClientConnection):
    """A connection that is idle or carries one exchange. When it can carry the next exchange, it calls `released`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, max_body_bytes: int, released: Callable[[Connection], None]
    ) -> None:
        super().__init__()
        self._loop = loop
        self._max_body = max_body_bytes
        self._released = released
        self._parser = self._new_parser()
        self._lost: Failure | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = self._deadline_s = 0.0
        self.response = Response()
        self.idle_since_s = 0.0
        self._begin(is_head=False)

    def _new_parser(self) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        return parser

    def _begin(self, *, is_head: bool) -> None:
        self._is_head = is_head
        self._fields: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._unparsed_bytes = self._field_bytes = self._size = 0
        self._declared = _UNDECLARED
        self._is_final = self._until_close = self._keeps = False

    def close(self) -> None:
        """Close the connection immediately."""
        self._transport.abort()

    async def exchange(self, head: bytes, body: bytes, until_s: float, *, is_head: bool) -> Response:
        """Send one request, and return its response before `until_s` on the loop's clock. Only cancellation raises."""
        self.response = response = Response()
        self._begin(is_head=is_head)
        self._waiter = waiter = self._loop.create_future()
        if self._lost is not None:  # the connection was lost after it was opened
            self._end(self._lost)
            return response
        self._deadline_s = until_s
        if self._timer is None or self._timer_s > until_s:
            self._set_timer(until_s)
        self._transport.write(head + body if body else head)
        try:
            await waiter
        except asyncio.CancelledError:
            self._end(Failure.TIMEOUT)
            raise
        return response

    def _set_timer(self, at_s: float) -> None:
        """Set this connection's only timer. A timer for each exchange would cost 2 µs per request."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = at_s
        self._timer = self._loop.call_at(at_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._deadline_s - self._loop.time() > _TIMER_TOLERANCE_S:
            self._set_timer(self._deadline_s)
        else:
            self._end(Failure.TIMEOUT)

    # The event loop calls this method.

    def data_received(self, data: bytes) -> None:
        """Parse a part of the response. Close the connection if bytes arrive without a request."""
        if self._waiter is None:
            self.close()
            return
        if not self._unparsed_bytes and not self._is_final and _is_misread(data):
            self._end(Failure.MALFORMED)
            return
        self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(Failure.MALFORMED)
        if self._unparsed_bytes > MAX_HEAD_BYTES:  # a head, trailers, chunk extensions, interim responses
            self._end(Failure.MALFORMED)

    def eof_received(self) -> None:
        """Complete a response that ends with its connection; the transport closes itself."""
        if self._until_close:
            self._complete(keeps=False)
        self._end(Failure.RESET)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the current exchange. In TLS 1.3 a server rejects a client's certificate after the handshake."""
        if self._timer is not None:
            self._timer.cancel()
        self._lost = failure_of(exc) if isinstance(exc, ssl.SSLError) else Failure.RESET
        self._end(self._lost)

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Begin a response: the first response, or the response after an interim response."""
        if self._waiter is None or self._is_final:  # this is a second response to one request
            self._keeps = False
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a field of the head or of the trailers."""
        if self._waiter is None:
            return
        lower = _lower_names.get(name) or _lower_name(name)
        if not lower:
            self._end(Failure.MALFORMED)
            return
        self._fields.append((lower, value.rstrip(b" \t")))
        self._field_bytes += len(name) + len(value) + FIELD_BYTES
        if self._field_bytes > MAX_HEAD_BYTES:
            self._end(Failure.MALFORMED)
        elif lower in _FRAMING and not self._is_final:
            self._note_framing(lower, value)

    def _note_framing(self, name: bytes, value: bytes) -> None:
        coding = value.strip().lower()
        if name == b"content-length":  # the parser accepts only one number
            self._declared = int(value)
        elif coding == b"chunked" and self._declared != _CHUNKED:
            self._declared = _CHUNKED
        elif coding != b"identity":  # Envoy and nginx reject all other heads
            self._end(Failure.MALFORMED)

    def on_headers_complete(self) -> None:
        """Keep the head, except of an interim response."""
        if self._waiter is None:
            return
        if not _are_clean(self._fields):
            self._end(Failure.MALFORMED)
            return
        status = self._parser.get_status_code()
        fields, self._fields = self._fields, []
        if status < _OK and status != _SWITCHING_PROTOCOLS:
            self._declared = _UNDECLARED
            return
        self._is_final = True
        self._unparsed_bytes = 0
        self.response.status = status
        self.response.headers = tuple(fields)
        self._keeps = self._parser.should_keep_alive() and status != _SWITCHING_PROTOCOLS
        if self._is_head:
            self._parser = self._new_parser()  # the old parser waits for a body, but a HEAD response has no body
            self._complete(keeps=self._keeps)
        else:
            self._until_close = self._declared == _UNDECLARED and status not in _BODILESS

    def on_body(self, part: bytes) -> None:
        """Add a part of the body. If the body exceeds the limit, the connection cannot be reused."""
        if self._waiter is None:
            self.close()
            return
        self._unparsed_bytes = 0
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._max_body:
            self._complete(keeps=False)

    def on_message_complete(self) -> None:
        """Complete the exchange."""
        if self._is_final:
            if self._fields and not _are_clean(self._fields):
                self._end(Failure.MALFORMED)
            self.response.trailers = tuple(self._fields)
            self._complete(keeps=self._keeps)

    # The end of an exchange.

    def _complete(self, *, keeps: bool) -> None:
        if self._waiter is None:
            return
        response = self.response
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        response.body_bytes = len(body)
        if len(body) > self._max_body:
            response.body_bytes = max(self._declared, len(body))
            body = body[: self._max_body]
        response.body = body
        if not keeps or self._transport.get_write_buffer_size():  # v2 responded before it read the whole request
            self.close()
            self._settle()
        else:
            self._settle()
            self._released(self)

    def _end(self, failure: Failure) -> None:
        if self._waiter is None:
            return
        response = self.response
        response.failure = failure
        response.is_unanswered = failure is Failure.RESET and not self._is_final and not self._unparsed_bytes
        response.body = b"".join(self._parts)
        response.body_bytes = max(self._declared, len(response.body) + 1) if response.status else 0
        self.close()
        self._settle()

    def _settle(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _is_misread(data: bytes) -> bool:
    """Whether a lenient parser misreads this head: a fold without a field, or a double CR that looks like the end."""
    after = data.find(b"\n") + 1
    if after and data.startswith((b" ", b"\t"), after):
        return True
    end = data.find(b"\n\r\n")
    at = data.find(b"\r\r", 0, len(data) if end < 0 else end)
    return at >= 0 and _HEAD_END.search(data, 0, at) is None


def _lower_name(name: bytes) -> bytes:
    """Return a field name in lower case; empty if it contains a space, which only lenient parsers accept."""
    lower = b"" if b" " in name else name.lower()
    if lower and len(name) <= _REMEMBERED_NAME_BYTES and len(_lower_names) < _REMEMBERED_NAMES:
        _lower_names[name] = lower
    return lower


def _are_clean(fields: list[tuple[bytes, bytes]]) -> bool:
    """Whether all values are free of control characters, which only lenient parsers accept."""
    values = b"".join([value for _, value in fields])
    return len(values.translate(None, _CONTROL)) == len(values)


class ConnectionPool:
    """The connections to one origin. Requests use v2's addresses in turn."""

    def __init__(self, origin: Origin, max_body_bytes: int, tls: ClientTls = DEFAULT_TLS) -> None:
        """Read the TLS files if the scheme is https. Raises: TlsFileError."""
        self._loop = asyncio.get_running_loop()
        made = partial(Connection, self._loop, max_body_bytes, self._release)
        self.connector = Connector(origin, made, tls=tls)
        self._most_idle = MOST_IDLE
        self._idle: defaultdict[str, deque[Connection]] = defaultdict(deque)
        self.idle_count = 0
        self._sweep: asyncio.TimerHandle | None = None

    def take(self) -> tuple[Connection | None, str | None]:
        """Return the next address in turn, with its most recently used idle connection or None."""
        address = self.connector.addresses.turn()
        idle = self._idle.get(address) if address else None
        while idle:
            connection = idle.pop()
            self.idle_count -= 1
            if not connection.is_closed and self._loop.time() - connection.opened_s <= CONNECTION_AGE_S:
                return connection, address
            connection.close()
        return None, address

    def retire(self) -> None:
        """Close all idle connections, and every other connection after its exchange."""
        self._most_idle = 0
        self._close_idle(math.inf)

    def close(self) -> None:
        """Close all idle connections."""
        self.connector.addresses.close()
        if self._sweep is not None:
            self._sweep.cancel()
        self._close_idle(math.inf)

    def _release(self, connection: Connection) -> None:
        if self.idle_count >= self._most_idle:
            connection.close()
            return
        connection.idle_since_s = self._loop.time()
        self._idle[connection.address].append(connection)
        self.idle_count += 1
        if self._sweep is None:
            self._sweep = self._loop.call_later(IDLE_CONNECTION_S, self._close_overdue)

    def _close_overdue(self) -> None:
        oldest_s = self._loop.time() - IDLE_CONNECTION_S
        self._close_idle(oldest_s)
        self._sweep = None
        if self._idle:
            wait_s = min(idle[0].idle_since_s for idle in self._idle.values()) - oldest_s
            self._sweep = self._loop.call_later(max(wait_s, 0.01), self._close_overdue)

    def _close_idle(self, until_s: float) -> None:
        """Close the connections that have been idle since `until_s`."""
        for address, idle in list(self._idle.items()):
            while idle and idle[0].idle_since_s <= until_s:
                self.idle_count -= 1
                idle.popleft().close()
            if not idle:
                del self._idle[address]
