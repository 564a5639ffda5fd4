"""One HTTP/1.1 connection to v2: one request at a time, and its answer as far as it came.

In: a request's bytes and a deadline.  Out: an `Answer`, always, with its failure where there is one.
Holds: nothing is followed, decoded or decompressed; the head, the body and what stands between its parts have bounds,
and so has the whole exchange in time.  A connection that is not clearly reusable is closed.
The parser is llhttp, as httptools binds it: the one that uvicorn and aiohttp stand on.
Source: RFC 9112, sections 6.3 (where a body ends) and 9.3 (which connections persist).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httptools

from shadowdiff.model import Failure, Headers

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 1 << 16
FIELD_BYTES = 32
"""What a field counts beside its name and value, so that many small ones take no more memory than few long ones.
Source: RFC 9113, section 10.5.1."""
_SWITCHING_PROTOCOLS = 101
_OK = 200
_BODILESS = frozenset({204, 304})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_CHUNKED = -2
_UNDECLARED = -1


@dataclass(slots=True)
class Answer:
    """A response as far as it came; `body_bytes` is its full size where that is known.

    is_unheard: the connection ended before a first byte came back; it may have been closed under the request.
    """

    status: int = 0
    headers: Headers = ()
    trailers: Headers = ()
    body: bytes = b""
    body_bytes: int = 0
    failure: Failure | None = None
    is_unheard: bool = False


class Connection(asyncio.Protocol):
    """A connection that is idle or carries one exchange. `released` is told when it may carry the next one."""

    __slots__ = (
        "_declared", "_field_bytes", "_fields", "_is_final", "_is_head", "_keeps", "_loop", "_max_body", "_parser",
        "_parts", "_released", "_size", "_timer", "_transport", "_unparsed_bytes", "_until_close", "_waiter", "answer",
        "idle_since_s",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, max_body_bytes: int, released: Callable[[Connection], None]
    ) -> None:
        self._loop = loop
        self._max_body = max_body_bytes
        self._released = released
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.answer = Answer()
        self.idle_since_s = 0.0
        self._begin(is_head=False)

    def _begin(self, *, is_head: bool) -> None:
        self._is_head = is_head
        self._fields: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._unparsed_bytes = self._field_bytes = self._size = 0
        self._declared = _UNDECLARED
        self._is_final = self._until_close = self._keeps = False

    @property
    def is_open(self) -> bool:
        """Whether it may carry an exchange."""
        return not self._transport.is_closing()

    def close(self) -> None:
        """End it at once."""
        self._transport.abort()

    async def exchange(self, head: bytes, body: bytes, until_s: float, *, is_head: bool) -> Answer:
        """Send one request and return what came of it by `until_s` on the loop's clock. Only cancellation raises."""
        self.answer = answer = Answer()
        self._begin(is_head=is_head)
        self._waiter = waiter = self._loop.create_future()
        self._timer = self._loop.call_at(until_s, self._end, Failure.TIMEOUT)
        self._transport.write(head + body if body else head)
        try:
            await waiter
        except asyncio.CancelledError:
            self._end(Failure.TIMEOUT)
            raise
        return answer

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer; what nobody asked for ends the connection."""
        if self._waiter is None:
            self.close()
            return
        self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(Failure.MALFORMED)
        else:
            if self._unparsed_bytes > MAX_HEAD_BYTES:  # a head, trailers, chunk extensions, interim answers
                self._end(Failure.MALFORMED)

    def eof_received(self) -> None:
        """End an answer whose body ends so; the transport closes itself."""
        if self._until_close:
            self._complete(keeps=False)
        self._end(Failure.RESET)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the end is what counts
        """End what was under way."""
        self._end(Failure.RESET)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a status line: the first, or the one after an interim answer."""
        if self._waiter is None or self._is_final:  # a second answer to one request
            self._keeps = False
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field of the head, or of the trailers."""
        if self._waiter is None:
            return
        lower = name.lower()
        self._fields.append((lower, value.rstrip(b" \t")))
        self._field_bytes += len(name) + len(value) + FIELD_BYTES
        if self._field_bytes > MAX_HEAD_BYTES:
            self._end(Failure.MALFORMED)
        elif lower in _FRAMING and not self._is_final:
            self._note_framing(lower, value)

    def _note_framing(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":  # the parser has taken it, so it is a number, and the only one
            self._declared = int(value)
        elif value.strip().lower().endswith(b"chunked"):
            self._declared = _CHUNKED

    def on_headers_complete(self) -> None:
        """Keep the head, unless it is an interim one."""
        if self._waiter is None:
            return
        status = self._parser.get_status_code()
        if status < _OK and status != _SWITCHING_PROTOCOLS:
            self._fields = []
            self._declared = _UNDECLARED
            return
        answer = self.answer
        self._is_final = True
        self._unparsed_bytes = 0
        answer.status = status
        answer.headers = tuple(self._fields)
        self._fields = []
        self._keeps = self._parser.should_keep_alive() and status != _SWITCHING_PROTOCOLS
        if self._is_head:
            self._parser = httptools.HttpResponseParser(self)  # the old one waits for a body that never comes
            self._complete(keeps=self._keeps)
        else:
            self._until_close = self._declared == _UNDECLARED and status not in _BODILESS

    def on_body(self, part: bytes) -> None:
        """Take a part of the body, up to the bound; past it the connection is of no more use."""
        if self._waiter is None:
            self.close()
            return
        self._unparsed_bytes = 0
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._max_body:
            self._complete(keeps=False)

    def on_message_complete(self) -> None:
        """End the exchange; its connection is perhaps good for the next."""
        if self._is_final:
            self.answer.trailers = tuple(self._fields)
            self._complete(keeps=self._keeps)

    # How an exchange ends.

    def _complete(self, *, keeps: bool) -> None:
        if self._waiter is None:
            return
        answer = self.answer
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        answer.body_bytes = len(body)
        if len(body) > self._max_body:
            answer.body_bytes = max(self._declared, len(body))
            body = body[: self._max_body]
        answer.body = body
        if not keeps or self._transport.get_write_buffer_size():  # v2 answered before it had read the whole request
            self.close()
            self._settle()
        else:
            self._settle()
            self._released(self)

    def _end(self, failure: Failure) -> None:
        if self._waiter is None:
            return
        answer = self.answer
        answer.failure = failure
        answer.is_unheard = failure is Failure.RESET and not self._is_final and not self._unparsed_bytes
        answer.body = b"".join(self._parts)
        answer.body_bytes = max(self._declared, len(answer.body) + 1) if answer.status else 0
        self.close()
        self._settle()

    def _settle(self) -> None:
        waiter, self._waiter = self._waiter, None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
