"""An HTTP/2 connection to v2 for many concurrent calls.

The library h2 implements the protocol; this module owns the socket and waits for events. Bodies have a size limit, and
a canceled call resets its stream. After a GOAWAY the connection finishes the calls that v2 accepted; the other calls
raise `RefusedStreamError` and may be sent again. A connection that stops responding is closed.
Source: RFC 9113, sections 3.4, 4.1 and 6.8.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from shadowdiff.intake.connect import CONNECTION_AGE_S, ClientConnection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.intake.connection import Response
    from shadowdiff.intake.exchange import RawHeaders
    from shadowdiff.model import Headers

WINDOW_BYTES: Final = 1 << 24
STREAMS_MOST: Final = 100
"""The maximum number of streams on one connection. Other calls open another connection."""
CALLS_MOST: Final = 1 << 20
"""The maximum number of calls in the life of one connection, which has 2^30 stream ids."""
UNREAD_BYTES: Final = 1 << 26
"""The maximum unsent data for a v2 that does not read, such as replies to pings. Bodies of calls are far smaller."""
CHECK_EVERY_S: Final = 1.0
SILENT_S: Final = 1.0
"""With calls in flight, a connection that receives nothing for this long sends a PING."""
PING_WITHIN_S: Final = 2.0
"""A connection that receives nothing for this long after a PING is closed."""
PINGS_MOST: Final = 2
"""The maximum number of pings without a response frame in between. gRPC servers reject the fourth."""
_HEADER_BYTES: Final = 9
_SETTINGS: Final = 4
_GOAWAY: Final = 7
_GOAWAY_BYTES: Final = 8
_MOST_FRAME_BYTES: Final = 1 << 14
"""The default of SETTINGS_MAX_FRAME_SIZE."""
_RESPONSE_EVENTS = (h2.events.ResponseReceived, h2.events.DataReceived, h2.events.TrailersReceived)


class ResetByPeerError(ConnectionResetError):
    """v2 ended the stream or the connection before the response was complete."""


class RefusedStreamError(ResetByPeerError):
    """v2 did not process the request, so the request may be sent again. Source: RFC 9113, section 8.7."""


class FrameSplitter:
    """Removes GOAWAY frames from v2's data. After a GOAWAY, h2 would reject every frame of the calls in flight."""

    def __init__(self) -> None:
        self._begun = b""
        self._is_first = True

    def split(self, data: bytes) -> tuple[bytes, list[int]]:
        """Return the complete frames to pass to h2, and the last stream id of each GOAWAY.

        Raises: ProtocolError if the first frame is not SETTINGS (RFC 9113, section 3.4), or a frame is too long. h2
        would read HTTP/1.1 as the start of a long frame and wait for the rest.
        """
        data = self._begun + data
        passed: list[bytes] = []
        last_ids: list[int] = []
        at = 0
        while len(data) - at >= _HEADER_BYTES:
            body = at + _HEADER_BYTES
            length, kind = int.from_bytes(data[at : at + 3], "big"), data[at + 3]
            if length > _MOST_FRAME_BYTES or (self._is_first and kind != _SETTINGS):
                raise h2.exceptions.ProtocolError(f"a frame begins with {data[at:body]!r}")
            self._is_first = False
            if len(data) < body + length:
                break
            is_of_connection = not int.from_bytes(data[at + 5 : body], "big") & 0x7FFFFFFF
            if kind == _GOAWAY and is_of_connection and length >= _GOAWAY_BYTES:
                last_ids.append(int.from_bytes(data[body : body + 4], "big") & 0x7FFFFFFF)
            else:
                passed.append(data[at : body + length])
            at = body + length
        self._begun = data[at:]
        return b"".join(passed), last_ids


class _Stream:
    """One call. sent_s: when the call was sent. reads: how often the connection had been read at that time."""

    def __init__(self, response: Response, loop: asyncio.AbstractEventLoop, reads: int) -> None:
        self.response = response
        self.reads = reads
        self.sent_s = loop.time()
        self.parts: list[bytes] = []
        self.size = 0
        self.ended = False
        self.done: asyncio.Future[None] = loop.create_future()
        self.room = asyncio.Event()

    def apply(self, event: Any) -> None:
        """Apply an event of this stream."""
        match event:
            case h2.events.ResponseReceived():
                self.response.status = _status(event.headers)
                self.response.headers = _without_pseudo(event.headers)
            case h2.events.TrailersReceived():
                self.response.trailers = _without_pseudo(event.headers)
            case h2.events.StreamEnded():
                self.end()
            case h2.events.StreamReset():
                self.lose("v2 reset the stream", is_refused=event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM)
            case _:
                pass

    def lose(self, why: str, *, is_refused: bool) -> None:
        """Fail the call. If a response has started, v2 processed the call, even if v2 reports a refused call."""
        is_unanswered = is_refused and not self.response.status
        self.end(RefusedStreamError(why) if is_unanswered else ResetByPeerError(why))

    def end(self, error: Exception | None = None) -> None:
        """End the call, with or without an error."""
        self.ended = True
        self.room.set()
        if not self.done.done():
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


class Http2Connection(ClientConnection):
    """Converts the bytes of one connection to events of its streams."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_body_bytes: int) -> None:
        super().__init__()
        self._loop = loop
        self._max_body_bytes = max_body_bytes
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._h2: Any = h2.connection.H2Connection(config)
        self._frames = FrameSplitter()
        self._streams: dict[int, _Stream] = {}
        self._settled: asyncio.Future[None] = loop.create_future()
        self._is_retired = self._is_suspect = False
        self._received_s = self._check_s = loop.time()
        self._reads = 0
        self._ping_s: float | None = None
        self._pings = 0
        self._check: asyncio.TimerHandle | None = None
        self.opened_s = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface, with windows larger than one response."""
        super().connection_made(transport)
        self._h2.initiate_connection()
        codes = h2.settings.SettingCodes
        self._h2.update_settings({codes.ENABLE_PUSH: 0, codes.INITIAL_WINDOW_SIZE: WINDOW_BYTES})
        self._h2.increment_flow_control_window(WINDOW_BYTES)
        self._flush()
        self._schedule_check()

    @property
    def is_usable(self) -> bool:
        """Whether this connection may carry new calls when it is below its call limit."""
        return (
            not self._is_retired
            and self._loop.time() - self.opened_s < CONNECTION_AGE_S
            and self._h2.highest_outbound_stream_id + 1 < 2 * CALLS_MOST
        )

    @property
    def has_room(self) -> bool:
        """Whether this connection can carry another call at this moment."""
        most = min(STREAMS_MOST, self._h2.remote_settings.max_concurrent_streams)
        return self.is_usable and not self._is_suspect and len(self._streams) < most

    async def ready(self) -> None:
        """Wait for v2's SETTINGS, which limit the concurrent calls. Raises: OSError, ValueError."""
        await asyncio.shield(self._settled)

    def data_received(self, data: bytes) -> None:
        """Pass events to the streams."""
        self._received_s = self._loop.time()
        self._reads += 1
        self._ping_s = None
        self._is_suspect = False
        try:
            data, last_ids = self._frames.split(data)
            for event in self._h2.receive_data(data):
                self._apply(event)
        except h2.exceptions.ProtocolError as error:
            self._fail_all(ValueError(f"not HTTP/2: {error}"))
            self._flush()
            self._transport.close()
            return
        for last_id in last_ids:
            self._go_away(last_id)
        self._flush()
        if self._transport.get_write_buffer_size() > UNREAD_BYTES:
            self._fail_all(ResetByPeerError("v2 does not read the data that is sent to it"))
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every call."""
        if self._check is not None:
            self._check.cancel()
        self._fail_all(exc if isinstance(exc, OSError) else ResetByPeerError("the connection ended"))

    def retire(self) -> None:
        """Accept no new calls, and close after the calls in flight."""
        self._is_retired = True
        if not self._streams:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        self._is_retired = True
        self._transport.close()

    async def send(self, headers: RawHeaders, body: bytes, response: Response) -> None:
        """Send one call and wait for the response. Raises: OSError, ValueError."""
        number: int = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = _Stream(response, self._loop, self._reads)
        try:
            self._h2.send_headers(number, headers, end_stream=not body)
            self._flush()
            await self._send(number, stream, body)
            await stream.done
        finally:
            response.body = b"".join(stream.parts)[: self._max_body_bytes]
            response.body_bytes = stream.size
            del self._streams[number]
            if not stream.ended:
                self._reset(number)
                self._suspect(stream)
            if not self.is_usable and not self._streams:
                self.close()

    # Liveness.

    def _schedule_check(self) -> None:
        self._check_s = self._loop.time() + CHECK_EVERY_S
        self._check = self._loop.call_at(self._check_s, self._check_liveness)

    def _check_liveness(self) -> None:
        """Close a connection that does not respond or is too old; send a PING on a silent connection."""
        now_s = self._loop.time()
        was_held_up = now_s - self._check_s > CHECK_EVERY_S  # this process was slow, so v2's data may be unread
        self._schedule_check()
        if not self.is_usable and not self._streams:
            self.close()
        elif self._ping_s is not None:
            if now_s - self._ping_s >= PING_WITHIN_S and not was_held_up:
                self._fail_all(TimeoutError("v2 does not respond to PING"))
                self._transport.abort()
        elif self._streams:
            oldest = next(iter(self._streams.values()))  # silence before the call was sent is normal
            if now_s - max(self._received_s, oldest.sent_s) >= SILENT_S:
                self._ping()

    def _suspect(self, stream: _Stream) -> None:
        """Send no new calls until v2 responds: a call was canceled, and no data has arrived since then."""
        if self._is_retired or self._reads > stream.reads:
            return
        self._is_suspect = True
        if self._ping_s is None and not self._ping():
            self.retire()

    def _ping(self) -> bool:
        """Send a PING unless too many were sent; return whether it was sent."""
        if self._pings >= PINGS_MOST or self._transport.is_closing():
            return False
        self._pings += 1
        self._ping_s = self._loop.time()
        self._h2.ping(self._pings.to_bytes(8, "big"))
        self._flush()
        return True

    # Data.

    async def _send(self, number: int, stream: _Stream, body: bytes) -> None:
        at = 0
        while at < len(body) and not stream.ended:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if room <= 0:
                stream.room.clear()
                await stream.room.wait()
                continue
            part = body[at : at + room]
            at += len(part)
            self._h2.send_data(number, part, end_stream=at == len(body))
            self._flush()

    def _apply(self, event: Any) -> None:
        stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
        if isinstance(event, _RESPONSE_EVENTS):
            self._pings = 0
        match event:
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                if isinstance(event, h2.events.RemoteSettingsChanged) and not self._settled.done():
                    self._settled.set_result(None)
                for each in self._streams.values() if stream is None else (stream,):
                    each.room.set()
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream is not None:
                    self._add_data(event.stream_id, stream, event.data)
            case _ if stream is not None:
                stream.apply(event)
            case _:
                pass

    def _add_data(self, number: int, stream: _Stream, data: bytes) -> None:
        """Keep data up to the limit; end the call if the data exceeds it."""
        if stream.size <= self._max_body_bytes:
            stream.parts.append(data)
        stream.size += len(data)
        if stream.size > self._max_body_bytes and not stream.ended:
            stream.end()
            self._reset(number)

    def _go_away(self, last: int) -> None:
        """Start no new calls on the connection. v2 responds to calls up to `last`, and did not process later calls."""
        for number, stream in self._streams.items():
            if number > last and not stream.ended:
                stream.lose("v2 is going away", is_refused=True)
        self.retire()

    def _fail_all(self, error: Exception) -> None:
        self._is_retired = True
        if not self._settled.done():
            self._settled.set_exception(error)
            self._settled.exception()  # mark the result as retrieved, because no task may wait for it
        for stream in self._streams.values():
            stream.end(error)

    def _reset(self, number: int) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the stream has ended
            self._h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)


def _status(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the status, and check it because h2 does not. Raises: ProtocolError. Source: RFC 9110, section 15."""
    status = dict(fields).get(b":status", b"")
    if not (len(status) == 3 and status.isdigit() and b"100" <= status <= b"599"):  # noqa: PLR2004 - its digits
        raise h2.exceptions.ProtocolError(f"the status is {status[:20]!r}")
    return int(status)


def _without_pseudo(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name, value) for name, value in fields if not name.startswith(b":"))
