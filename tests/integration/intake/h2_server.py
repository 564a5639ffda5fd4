"""A scripted HTTP/2 server: a function handles each request, so it can shut down, die or wait."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpack import Encoder
from hyperframe import frame

from tests.fakes.shop_proto import framed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

HOST = "127.0.0.1"
PREFACE_BYTES = 24
FRAME_HEADER_BYTES = 9


@dataclass
class Peer:
    """One connection of the server."""

    server: Server
    number: int
    writer: asyncio.StreamWriter
    streams: list[int] = field(default_factory=list[int])
    pings: int = 0
    is_dead: bool = False
    encoder: Encoder = field(default_factory=Encoder)

    def answer(self, stream: int) -> None:
        """Respond to a request, and count it as processed."""
        self.server.processed += 1
        head = self.encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
        self.send(frame.HeadersFrame(stream, head, flags=["END_HEADERS"]))
        self.send(frame.DataFrame(stream, framed(b"hi")))
        trailers = self.encoder.encode([("grpc-status", "0")])
        self.send(frame.HeadersFrame(stream, trailers, flags=["END_HEADERS", "END_STREAM"]))

    def go_away(self, last: int) -> None:
        """Announce that no stream above `last` is processed."""
        self.send(frame.GoAwayFrame(0, last_stream_id=last, additional_data=b"bye"))

    def send(self, sent: frame.Frame) -> None:
        """Send a frame, unless the path to the client is dead."""
        if not self.is_dead:
            self.writer.write(sent.serialize())

    def close(self) -> None:
        """Close the connection once everything is written."""
        self.writer.close()


@dataclass
class Server:
    """The requests received so far on all connections."""

    on_request: Callable[[Peer, int], None]
    on_ping: Callable[[Peer], bool] = lambda _peer: True
    port: int = 0
    processed: int = 0
    peers: list[Peer] = field(default_factory=list[Peer])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it closes."""
        peer = Peer(self, len(self.peers), writer)
        self.peers.append(peer)
        try:
            await reader.readexactly(PREFACE_BYTES)
            peer.send(frame.SettingsFrame(0))
            while True:
                got, length = frame.Frame.parse_frame_header(memoryview(await reader.readexactly(FRAME_HEADER_BYTES)))
                got.parse_body(memoryview(await reader.readexactly(length)))
                self._take(peer, got)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def _take(self, peer: Peer, got: frame.Frame) -> None:
        if isinstance(got, frame.SettingsFrame) and "ACK" not in got.flags:
            peer.send(frame.SettingsFrame(0, flags=["ACK"]))
        elif isinstance(got, frame.PingFrame) and "ACK" not in got.flags:
            peer.pings += 1
            if self.on_ping(peer):
                peer.send(frame.PingFrame(0, got.opaque_data, flags=["ACK"]))
        elif "END_STREAM" in got.flags:
            peer.streams.append(got.stream_id)
            self.on_request(peer, got.stream_id)


@contextlib.asynccontextmanager
async def h2_server(
    on_request: Callable[[Peer, int], None], on_ping: Callable[[Peer], bool] = lambda _peer: True
) -> AsyncGenerator[Server]:
    """Run a server on a free port, and close its connections at the end."""
    made = Server(on_request, on_ping)
    listening = await asyncio.start_server(made.serve, HOST, 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        for peer in made.peers:
            peer.writer.transport.abort()
