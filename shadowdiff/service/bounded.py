"""uvicorn's HTTP/1.1 with the bounds that it lacks, for the web and metrics ports.

In: bytes of one connection.  Out: what uvicorn makes of them.
Holds: a head, trailers and what stands between chunks are bounded in bytes; a head, a body and an idle connection in
time; requests that wait behind one another in number. What is no HTTP is answered and not logged: a line each would
let anybody fill the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    import uvicorn
    from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 << 10
REQUEST_WITHIN_S = 30.0
"""From a request's first byte to its last."""
_LOOK_EVERY_S = 5.0
_MOST_WAITING = 64

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
        self._is_within = self._was_used = False
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        self._look = self.loop.call_later(_LOOK_EVERY_S, self._look_after)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

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

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._unparsed_bytes = 0
        self._since_s = self._last_s
        self._is_within = self._was_used = True

    def on_headers_complete(self) -> None:
        """Put the request behind those that are being answered, if there is room."""
        if len(self.pipeline) >= _MOST_WAITING:
            raise ConnectionAbortedError("too many requests wait on one connection")  # uvicorn answers 400 and closes
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

    def _look_after(self) -> None:
        """End a connection whose sender takes too long, or that was opened and never used."""
        now_s = self.loop.time()
        is_slow = self._is_within and now_s - self._since_s > REQUEST_WITHIN_S
        is_unused = not self._was_used and now_s - self._last_s > REQUEST_WITHIN_S  # after that, uvicorn's own is right
        if is_slow or is_unused:
            self.transport.close()
        else:
            self._look = self.loop.call_later(_LOOK_EVERY_S, self._look_after)
