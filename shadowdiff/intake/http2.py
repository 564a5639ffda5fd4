"""Ask v2 over HTTP/2, for gRPC alone: its calls end in trailers, which httpx and aiohttp do not give.

In: a request as bytes and fields.  Out: always an `Answer`, with its failure where there is one.
Holds: a few connections per v2, each carrying many requests; a body has a bound, past which its stream is reset;
whoever is cancelled resets the stream.  The protocol itself is the library h2's; here are the socket and the waiting.
Over http:// v2 is known to speak HTTP/2 (RFC 9113, section 3.3), as gRPC servers do; over https:// ALPN says so.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from shadowdiff.intake.connection import Answer
from shadowdiff.intake.pool import NoMeansError, raise_if_own
from shadowdiff.model import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.intake.headers import RawHeaders
    from shadowdiff.model import Headers

WINDOW_BYTES: Final = 1 << 24
STREAMS_MOST: Final = 100
"""On one connection; more open another."""
UNREAD_BYTES: Final = 1 << 26
"""What may wait for a v2 that sends on, such as pings that want an answer; calls' own bodies are far less."""
TRIES: Final = 4
AGAIN_S: Final = 0.02
_TYPE_AT: Final = 3
"""Where a frame's type stands."""
_PER_HOP: Final = frozenset({b"host", b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"te"})

Origin = tuple[str, str, int]
"""Scheme, host, port."""


class ResetByPeerError(ConnectionResetError):
    """v2 ended the stream or the connection before its answer was whole."""


class RefusedStreamError(ResetByPeerError):
    """v2 took nothing of a request: it had more than it takes at once, and the request may be sent again."""


class _Stream:
    """One request on a connection."""

    __slots__ = ("answer", "done", "ended", "parts", "room", "size")

    def __init__(self, answer: Answer, loop: asyncio.AbstractEventLoop) -> None:
        self.answer = answer
        self.parts: list[bytes] = []
        self.size = 0
        self.ended = False
        self.done: asyncio.Future[None] = loop.create_future()
        self.room = asyncio.Event()

    def take(self, event: Any) -> None:
        """Take an event that is this stream's alone."""
        match event:
            case h2.events.ResponseReceived():
                self.answer.status = _status(event.headers)
                self.answer.headers = _plain(event.headers)
            case h2.events.TrailersReceived():
                self.answer.trailers = _plain(event.headers)
            case h2.events.StreamEnded():
                self.end()
            case h2.events.StreamReset():
                refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
                self.end((RefusedStreamError if refused else ResetByPeerError)("v2 reset the stream"))
            case _:
                pass

    def end(self, error: Exception | None = None) -> None:
        """Note that nothing more comes."""
        self.ended = True
        self.room.set()
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class _Connection(asyncio.Protocol):
    """One connection to v2: bytes in, events out to the streams."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most_bytes: int) -> None:
        self._loop = loop
        self._most_bytes = most_bytes
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._h2: Any = h2.connection.H2Connection(config)
        self._streams: dict[int, _Stream] = {}
        self._transport: asyncio.Transport
        self._settled: asyncio.Future[None] = loop.create_future()
        self.usable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the conversation with windows that one answer does not fill."""
        self._transport = cast("asyncio.Transport", transport)
        self._h2.initiate_connection()
        self._h2.update_settings(
            {
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            }
        )
        self._h2.increment_flow_control_window(WINDOW_BYTES)
        self._flush()

    @property
    def has_room(self) -> bool:
        """Whether one more request may go over this connection."""
        most = min(STREAMS_MOST, self._h2.remote_settings.max_concurrent_streams)
        return self.usable and len(self._streams) < most

    async def settled(self) -> None:
        """Wait until v2 has said how much it takes at once: what goes out before may be refused. Raises: OSError."""
        try:
            await asyncio.shield(self._settled)
        except asyncio.CancelledError:
            self.close()
            raise

    def data_received(self, data: bytes) -> None:
        """Hand what came to the streams."""
        try:
            if not self._settled.done():
                _check_opening(data)
            for event in self._h2.receive_data(data):
                self._take(event)
        except h2.exceptions.ProtocolError as error:
            self._fail_all(ValueError(f"not HTTP/2: {error}"))
            self._flush()
            self._transport.close()
            return
        self._flush()
        if self._transport.get_write_buffer_size() > UNREAD_BYTES:
            self._fail_all(ResetByPeerError("v2 asks, and does not read what it is answered"))
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every stream."""
        self._fail_all(exc if isinstance(exc, OSError) else ResetByPeerError("the connection ended"))

    def close(self) -> None:
        """End the connection."""
        self.usable = False
        self._transport.close()

    async def ask(self, headers: RawHeaders, body: bytes, answer: Answer) -> None:
        """Send one request and wait for its answer. Raises: OSError, ValueError."""
        number: int = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = _Stream(answer, self._loop)
        try:
            self._h2.send_headers(number, headers, end_stream=not body)
            self._flush()
            await self._send(number, stream, body)
            await stream.done
        finally:
            answer.body = b"".join(stream.parts)[: self._most_bytes]
            answer.body_bytes = stream.size
            del self._streams[number]
            if not stream.ended:
                self._reset(number)

    async def _send(self, number: int, stream: _Stream, body: bytes) -> None:
        """Send the body as fast as v2's windows allow."""
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

    def _take(self, event: Any) -> None:
        """Take what concerns the connection, and hand the rest to its stream."""
        stream = self._streams.get(getattr(event, "stream_id", 0) or 0)
        match event:
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                if isinstance(event, h2.events.RemoteSettingsChanged) and not self._settled.done():
                    self._settled.set_result(None)
                for each in self._streams.values() if stream is None else (stream,):
                    each.room.set()
            case h2.events.ConnectionTerminated():
                self._go_away(event.last_stream_id or 0)
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream is not None:
                    self._keep(event.stream_id, stream, event.data)
            case _ if stream is not None:
                stream.take(event)
            case _:
                pass

    def _keep(self, number: int, stream: _Stream, data: bytes) -> None:
        """Keep what is within the bound; past it, take no more."""
        if stream.size <= self._most_bytes:
            stream.parts.append(data)
        stream.size += len(data)
        if stream.size > self._most_bytes and not stream.ended:
            stream.end()
            self._reset(number)

    def _go_away(self, last: int) -> None:
        """Send nothing new; what v2 will not answer is lost."""
        self.usable = False
        for number, stream in self._streams.items():
            if number > last:
                stream.end(ResetByPeerError("v2 is going away"))

    def _fail_all(self, error: Exception) -> None:
        self.usable = False
        if not self._settled.done():
            self._settled.set_exception(error)
            self._settled.exception()  # seen, should nobody wait any more
        for stream in self._streams.values():
            stream.end(error)

    def _reset(self, number: int) -> None:
        try:
            self._h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        except h2.exceptions.ProtocolError:
            return  # it is over already
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)


def _check_opening(data: bytes) -> None:
    """Refuse what does not begin with SETTINGS, such as HTTP/1.1, whose first bytes h2 takes for a long frame.

    Raises: ProtocolError. Source: RFC 9113, section 3.4.
    """
    if data[_TYPE_AT : _TYPE_AT + 1] not in {b"", b"\x04"}:
        raise h2.exceptions.ProtocolError(f"the first bytes are {data[:9]!r}")


def _status(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the status; h2 takes any text for one. Raises: ProtocolError. Source: RFC 9110, section 15."""
    said = dict(fields).get(b":status", b"")
    if not (len(said) == 3 and said.isdigit() and b"100" <= said <= b"599"):  # noqa: PLR2004 - its digits
        raise h2.exceptions.ProtocolError(f"the status is {said[:20]!r}")
    return int(said)


def _plain(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name, value) for name, value in fields if not name.startswith(b":"))


class Http2Client:
    """Connections to every v2 that speaks gRPC."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._connections: dict[Origin, deque[_Connection]] = {}
        self._opening: dict[Origin, asyncio.Lock] = {}
        self._tls: ssl.SSLContext | None = None

    async def ask(self, origin: Origin, path: bytes, fields: RawHeaders, body: bytes, until_s: float) -> Answer:
        """Return what v2 answers by `until_s` on the loop's clock; raises NoMeansError where it cannot be asked."""
        answer = Answer()
        try:
            async with asyncio.timeout_at(until_s):
                await self._ask(origin, _head(origin, path, fields), body, answer)
        except NoMeansError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever v2 sends: it becomes v2's failure)
            answer.failure = _failure_of(error)
        return answer

    async def _ask(self, origin: Origin, head: RawHeaders, body: bytes, answer: Answer) -> None:
        """Ask, and again where v2 says that it took nothing. Source: RFC 9113, section 8.7."""
        for tries_left in reversed(range(TRIES)):
            connection = await self._connection(origin)
            try:
                return await connection.ask(head, body, answer)
            except RefusedStreamError:
                if not tries_left:
                    raise
            await asyncio.sleep(AGAIN_S)
        return None

    def close(self) -> None:
        """End every connection."""
        for connections in self._connections.values():
            for connection in connections:
                connection.close()

    async def _connection(self, origin: Origin) -> _Connection:
        """Return a connection with room; who finds none opens one, and the others wait for it."""
        held = self._connections.setdefault(origin, deque())
        async with self._opening.setdefault(origin, asyncio.Lock()):
            while held and not held[0].usable:
                held.popleft()
            found = next((connection for connection in held if connection.has_room), None)
            if found is None:
                found = await self._open(origin)
                held.append(found)
        return found

    async def _open(self, origin: Origin) -> _Connection:
        loop = asyncio.get_running_loop()
        scheme, host, port = origin
        context = self._context() if scheme == "https" else None
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(loop, self._most_bytes), host, port, ssl=context
            )
        except OSError as error:
            raise_if_own(error)
            raise
        await connection.settled()
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["h2"])
        return self._tls


def _head(origin: Origin, path: bytes, fields: RawHeaders) -> RawHeaders:
    """Return a request's fields as HTTP/2 has them: the request line and Host as fields of their own."""
    authority = next((value for name, value in fields if name == b"host"), b"")
    pseudo = [(b":method", b"POST"), (b":scheme", origin[0].encode()), (b":authority", authority), (b":path", path)]
    return [*pseudo, *(field for field in fields if field[0] not in _PER_HOP), (b"te", b"trailers")]


def _failure_of(error: Exception) -> Failure:
    match error:
        case TimeoutError():
            return Failure.TIMEOUT
        case socket.gaierror():
            return Failure.UNRESOLVED
        case ConnectionResetError() | BrokenPipeError():
            return Failure.RESET
        case OSError():
            return Failure.REFUSED
        case _:
            return Failure.MALFORMED
