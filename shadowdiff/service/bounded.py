"""uvicorn's HTTP/1.1 with the bounds that it lacks, for the web and metrics ports.

In: bytes of one connection.  Out: what uvicorn makes of them.
Holds: a head, trailers and what stands between chunks are bounded in bytes; a head, a body, an answer that is not read
and an idle connection in time; fields, requests that wait behind one another, and connections in number. Trailers are
dropped, where uvicorn takes them for headers: a proxy that strips a header, such as one that names the user, may let
such a trailer through. What is no HTTP is answered and not logged: a line each would let anybody fill the log.
"""

from __future__ import annotations

import logging
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
"""On one port; pages, gates and scrapes need a few hundred at most."""
REQUEST_WITHIN_S = 30.0
"""From a request's first byte to its last."""
UNREAD_S = 60.0
"""An answer of which nothing more was read for so long is given up."""
_LOOK_EVERY_S = 5.0
_MOST_WAITING = 64

log = logging.getLogger(__name__)
_quiet = logging.getLogger("uvicorn.error.bounded")
_quiet.setLevel(logging.ERROR)


class BoundedProtocol(HttpToolsProtocol):
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
        self._since_s = self._last_s = self.loop.time()
        self._is_within = self._was_used = self._has_head = False
        self._unread_since_s = 0.0
        self._running: RequestResponseCycle | None = None
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()
        if not transport.is_closing():
            self._look = self.loop.call_later(_LOOK_EVERY_S, self._look_after)

    def _make_room(self) -> None:
        """End the connection that has been waiting for its peer longest: who probes or scrapes opens a new one."""
        log.warning("a connection is closed: there are as many as may be", extra={"address": self.server})
        connections = cast("set[BoundedProtocol]", self.connections)
        others = [one for one in connections if one is not self and one.is_waiting]
        (min(others, key=_heard_s) if others else self).transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being answered, so that the peer has the next word."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request, whatever its type says
        return cycle is None or cycle.response_complete

    @property
    def heard_s(self) -> float:
        """When the peer was last heard of."""
        return self._last_s

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._look is not None:
            self._look.cancel()
        self._tell_running()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Answer a request, and remember which: of those that came pipelined uvicorn knows the last."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _tell_running(self) -> None:
        """Tell the request that is being answered that nobody listens: a write to what is closed raises."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Parse, within the bounds."""
        if self.transport.is_closing():
            return
        self._last_s = self.loop.time()
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n")
            self.transport.write(b"connection: close\r\n\r\n")
            self.transport.close()
        if self.transport.is_closing():
            self._tell_running()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._unparsed_bytes = 0
        self._since_s = self._last_s
        self._is_within = self._was_used = True
        self._has_head = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head."""
        if self._has_head:
            return
        if len(self.headers) >= MAX_FIELDS:
            raise ConnectionAbortedError("too many header fields")  # uvicorn answers 400 and closes
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Put the request behind those that are being answered, if there is room."""
        if len(self.pipeline) >= _MOST_WAITING:
            raise ConnectionAbortedError("too many requests wait on one connection")  # uvicorn answers 400 and closes
        self._has_head = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unparsed_bytes = 0
        self._is_within = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Note that the peer does not read its answer."""
        self._unread_since_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on with a peer that reads again."""
        self._unread_since_s = 0.0
        super().resume_writing()

    def _look_after(self) -> None:
        """End a connection whose peer takes too long, to say what it wants or to read the answer."""
        now_s = self.loop.time()
        is_closing = self.transport.is_closing()
        is_slow = self._is_within and now_s - self._since_s > REQUEST_WITHIN_S
        is_unused = not self._was_used and now_s - self._last_s > REQUEST_WITHIN_S  # after that, uvicorn's own is right
        if (self._unread_since_s and now_s - self._unread_since_s > UNREAD_S) or (
            is_closing and now_s - self._last_s > REQUEST_WITHIN_S + UNREAD_S
        ):
            self.transport.abort()  # a close waits for the peer to read
            self._tell_running()
            return
        if is_slow or is_unused:
            self.transport.close()
            self._tell_running()
        self._look = self.loop.call_later(_LOOK_EVERY_S, self._look_after)


def _heard_s(connection: BoundedProtocol) -> float:
    return connection.heard_s
