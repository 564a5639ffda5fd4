"""A link between the service and a real Redis that a test can cut, delay and read, call by call.

The link listens on its own port and calls a function for every Redis call. Calls and replies pass unchanged unless the
test changes them. A forwarded call has run once its reply arrives, so a test can lose a reply at exactly that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from shadowdiff.model import Observation, Side
from shadowdiff.pairing import names
from shadowdiff.pairing.codec import Codec
from shadowdiff.store import Dictionary
from tests.integration.service.scripts import end

if TYPE_CHECKING:
    from shadowdiff.store import Script

_TEXTS = frozenset({b"$", b"=", b"!"})
DICTIONARY_KEY = b"}:dictionary:"
RAN_BEFORE = b":0\r\n"
"""The reply of the park script to a flush that it ran before."""
_ITEMS = {b"*": 1, b"~": 1, b">": 1, b"%": 2}

Words = list[bytes]
Ask = Callable[[], Awaitable[bytes]]
OnCall = Callable[[Words, Ask], Awaitable[bytes | None]]
"""Gets a call and a function that runs it in Redis; returns the reply, or None to cut the link."""


async def pass_on(_words: Words, ask: Ask) -> bytes | None:
    """Forward a call."""
    return await ask()


async def _line(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n")


async def read_call(reader: asyncio.StreamReader) -> tuple[bytes, Words]:
    """Return one call unchanged, and its words."""
    raw = [await _line(reader)]
    words: Words = []
    for _ in range(int(raw[0][1:])):
        head = await _line(reader)
        word = await reader.readexactly(int(head[1:]) + 2)
        words.append(word[:-2])
        raw += (head, word)
    return b"".join(raw), words


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    """Return one complete reply unchanged, in RESP2 or RESP3."""
    parts: list[bytes] = []
    left = 1
    while left:
        head = await _line(reader)
        parts.append(head)
        kind, rest = head[:1], head[1:]
        if kind in _TEXTS and int(rest) >= 0:
            parts.append(await reader.readexactly(int(rest) + 2))
        elif kind in _ITEMS and int(rest) > 0:
            left += int(rest) * _ITEMS[kind]
        left -= 1
    return b"".join(parts)


def runs(words: Words, script: Script) -> bool:
    """Return whether a call runs this script, by digest or by text."""
    return (words[0] == b"EVALSHA" and words[1] == script.sha.encode()) or (
        words[0] == b"EVAL" and words[1] == script.source
    )


def is_an_error(answer: bytes) -> bool:
    """Return whether Redis rejected a call without running it."""
    return answer.startswith(b"-")


def parked(words: Words, codec: Codec) -> list[Observation]:
    """Return the observations in a call of the park script."""
    keys = words[3 : 3 + int(words[2])]
    digests = [key[-16:] for key in keys if b"}:o:" in key]
    payloads = words[-2 * len(digests) :][1::2]
    return [codec.decode(digest, payload) for digest, payload in zip(digests, payloads, strict=True)]


@dataclass
class RedisLink:
    """A running link that records the calls."""

    upstream_port: int
    on_call: OnCall = pass_on
    port: int = 0
    accepted: dict[Side, list[str]] = field(default_factory=lambda: {side: [] for side in Side})
    calls: int = 0
    cuts: int = 0
    _codec: Codec = field(default_factory=Codec)
    _flushes: set[tuple[bytes, bytes]] = field(default_factory=set[tuple[bytes, bytes]])
    _connections: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Return the URL for the service."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def up(self) -> None:
        """Listen on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def down(self) -> None:
        """Refuse new connections and cut open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await end(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections.add(task)
        # asyncio's streams report a cancelled connection as an error, so this task must suppress it.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._pass(reader, writer)
        self._connections.discard(task)
        writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        try:
            while await self._one(reader, writer, theirs, ours):
                pass
        finally:
            ours.transport.abort()

    async def _one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        theirs: asyncio.StreamReader,
        ours: asyncio.StreamWriter,
    ) -> bool:
        """Serve one call; False closes the connection."""
        raw, words = await read_call(reader)

        async def ask() -> bytes:
            ours.write(raw)
            answer = await read_reply(theirs)
            self._note(words, answer)
            return answer

        self.calls += 1
        answer = await self.on_call(words, ask)
        if answer is None:
            self.cuts += 1
            return False
        writer.write(answer)
        return True

    def _note(self, words: Words, answer: bytes) -> None:
        """Record the ids of a flush that Redis ran; they now count as accepted.

        A flush that ran before is recorded too, because Redis may have died between running it and replying.
        """
        if words[0] == b"SET" and DICTIONARY_KEY in words[1]:
            dictionary_id = bytes.fromhex(words[1].rpartition(b":")[2].decode())
            self._codec.add_dictionary(Dictionary(self._codec.value_codec.decode(words[2], dictionary_id)))
        if not runs(words, names.PARK):
            return
        flush = (words[3], words[3 + int(words[2])])
        if answer[:1] == b"*" or (answer == RAN_BEFORE and flush not in self._flushes):
            self._flushes.add(flush)
            for observation in parked(words, self._codec):
                self.accepted[observation.side].append(observation.id)


@contextlib.asynccontextmanager
async def linked(upstream_port: int) -> AsyncGenerator[RedisLink]:
    """Yield a link to the Redis on `upstream_port`."""
    link = RedisLink(upstream_port)
    await link.up()
    try:
        yield link
    finally:
        await link.down()
