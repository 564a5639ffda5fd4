"""uvicorn's HTTP/1.1 protocol with additional limits, for the web and metrics ports.

Heads, trailers and bytes between chunks have a size limit. Heads, bodies, unread responses and idle connections have a
time limit. The numbers of header fields, pipelined requests and connections are limited. Trailers are dropped: uvicorn
treats them as headers, so a client could send a header that the proxy removes, such as the user name, as a trailer.
Malformed HTTP gets a response but no log line, because a client could fill the log.
"""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    import uvicorn
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 << 10
MAX_FIELDS = 200
MOST_CONNECTIONS = 2048
"""The maximum number of connections to one port. Pages, gates and scrapes need a few hundred."""
REQUEST_WITHIN_S = 30.0
"""The maximum time from a request's first byte to its last."""
UNREAD_S = 60.0
"""A response is abandoned when its client has read nothing for this long."""
_CHECK_EVERY_S = 5.0
_MOST_WAITING = 64

log = logging.getLogger(__name__)
_quiet = logging.getLogger("uvicorn.error.limited")
_quiet.setLevel(logging.ERROR)


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _quiet
        self._unparsed_bytes = 0
        self._request_started_s = self.last_read_s = self.loop.time()
        self._in_request = self._had_request = self._has_head = False
        self._unread_since_s = 0.0
        self._running: RequestResponseCycle | None = None
        self._check_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()
        if not transport.is_closing():
            self._check_timer = self.loop.call_later(_CHECK_EVERY_S, self._check)

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client; a probe or scrape opens a new connection."""
        log.warning("connection limit reached; closing connection", extra={"address": self.server})
        connections = cast("set[LimitedHttpProtocol]", self.connections)
        others = [one for one in connections if one is not self and one.is_waiting]
        (min(others, key=attrgetter("last_read_s")) if others else self).transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether no response is in progress, so the service waits for bytes from the client."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # despite its type, None before the first request
        return cycle is None or cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        if self._check_timer is not None:
            self._check_timer.cancel()
        self._disconnect_running()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Record the running request: uvicorn keeps only the last of several pipelined requests."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _disconnect_running(self) -> None:
        """Mark the running request as disconnected, because a write to a closed transport would raise an error."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self.last_read_s = self.loop.time()
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n")
            self.transport.write(b"connection: close\r\n\r\n")
            self.transport.close()
        if self.transport.is_closing():
            self._disconnect_running()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unparsed_bytes = 0
        self._request_started_s = self.last_read_s
        self._in_request = self._had_request = True
        self._has_head = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        if len(self.headers) >= MAX_FIELDS:
            raise ConnectionAbortedError("too many header fields")  # uvicorn sends a 400, then disconnects
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _MOST_WAITING:
            raise ConnectionAbortedError(
                "too many pipelined requests are waiting"
            )  # uvicorn sends a 400, then disconnects
        self._has_head = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed_bytes = 0
        self._in_request = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        self._unread_since_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since_s = 0.0
        super().resume_writing()

    def _check(self) -> None:
        """Close the connection if its client is too slow to send its request or to read the response."""
        now_s = self.loop.time()
        idle_s = now_s - self.last_read_s
        is_slow = self._in_request and now_s - self._request_started_s > REQUEST_WITHIN_S
        is_unused = not self._had_request and idle_s > REQUEST_WITHIN_S  # later uvicorn's own timeout applies
        is_stuck = self.transport.is_closing() and idle_s > REQUEST_WITHIN_S + UNREAD_S
        if is_stuck or (self._unread_since_s and now_s - self._unread_since_s > UNREAD_S):
            self.transport.abort()  # `close` would wait for the client to read
            self._disconnect_running()
            return
        if is_slow or is_unused:
            self.transport.close()
            self._disconnect_running()
        self._check_timer = self.loop.call_later(_CHECK_EVERY_S, self._check)
