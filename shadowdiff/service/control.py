"""What a supervisor and its workers say to each other, over one socket pair each.

In: a socket.  Out: messages, each with its length in front.
Holds: whoever holds the other end is this service's own parent or child; the end of the connection is the end of the
other process, however it came.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from shadowdiff.config.values import Secret, StoreConfig
from shadowdiff.telemetry.together import Figures

if TYPE_CHECKING:
    import socket

_LENGTH_BYTES = 4


class Embedded(msgspec.Struct, frozen=True):
    """The store that the supervisor runs."""

    url: str
    backend: str
    version: str
    key: bytes | None


class Hello(msgspec.Struct, frozen=True):
    """The first thing that a worker hears: its listening sockets by port, and the store of all.

    processes: how many share the load.
    """

    sockets: dict[str, int]
    store: StoreConfig
    embedded: Embedded | None
    processes: int


class Ask(msgspec.Struct, frozen=True):
    """Ask what was counted."""

    number: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Say that requests are taken."""


class Counted(msgspec.Struct, frozen=True, tag=True):
    """Say what was counted; number: of the question, 0 where the process ends."""

    number: int
    figures: Figures


def _encode(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(str(type(value)))


def _decode(kind: type[object], value: object) -> object:
    if kind is Secret and isinstance(value, bytes):
        return Secret(value)
    if issubclass(kind, Path) and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(str(kind))


Said = TypeVar("Said")

HELLO = msgspec.msgpack.Decoder(Hello, dec_hook=_decode)
ASK = msgspec.msgpack.Decoder(Ask)
TOLD: msgspec.msgpack.Decoder[Ready | Counted] = msgspec.msgpack.Decoder(Ready | Counted)


class Link:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Link:
        """Return this end."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def say(self, message: msgspec.Struct) -> None:
        """Send a message; to who has ended, nothing."""
        if not self._writer.is_closing():
            written = msgspec.msgpack.encode(message, enc_hook=_encode)
            self._writer.write(len(written).to_bytes(_LENGTH_BYTES) + written)

    async def hear(self, decoder: msgspec.msgpack.Decoder[Said]) -> Said | None:
        """Return the next message; None where the other end has closed."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
            heard = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None
        return decoder.decode(heard)

    def close(self) -> None:
        """End the connection."""
        self._writer.close()

    async def closed(self) -> None:
        """End the connection once all that was said is on its way; raises OSError where the other has ended."""
        self._writer.close()
        await self._writer.wait_closed()
