"""Dictionaries for waiting observations: learned from traffic, kept in the store, shared by all processes.

In: what the codec has encoded.  Out: a dictionary that it encodes by, and those that others encoded by.
Holds: nothing is parked under a dictionary that its shard does not hold (`park.lua` refuses it, and the parker then
calls `publish`); each is kept for as long as anything may be waiting or ready under it. One is learned twice a day,
by whoever is first; without any, observations are stored as they are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import zstandard
from redis.exceptions import RedisError, ResponseError

from shadowdiff.pairing import names
from shadowdiff.store import Dictionary, UnopenableError, learn, said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.pairing.codec import Codec
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
LEARNED_EVERY_S: Final = 43_200
KEPT_S: Final = 7 * 86_400
"""After the last flush that used it: a ready pair waits for as long as no worker runs."""
RETRY_S: Final = 0.25
LETS_GO_ON_S: Final = 0.001
"""Given to the loop after each example; a thread that computes without a break leaves it a turn every 5 ms."""


class Dictionaries:
    """What one process knows of them. `run` learns; `fetch` and `publish` move them between process and store."""

    def __init__(self, store: Store, codec: Codec) -> None:
        self._store = store
        self._codec = codec

    async def run(self) -> None:
        """Learn, and take up what others have learned, until cancelled."""
        while True:
            try:
                await self.look()
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("dictionaries wait for the store", extra={"error": said(error)})
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Take up the store's dictionary; learn one where it has none. Raises: redis.exceptions.RedisError."""
        current = await self._current() or await self._learned()
        if current is None or (self._codec.current is not None and self._codec.current.id == current):
            return
        if self._codec.known(current) is None:
            closed = await self._stored(0, current)
            if closed is None:  # only its name is left: another is learned in its place
                await self._store.command("DEL", self._store.keys.name(0, names.DICTIONARY))
                return
            self._know(current, closed)
        self._codec.current = self._codec.known(current)

    async def fetch(self, shard: int, stored: Iterable[bytes | None]) -> None:
        """Get to know the dictionaries that these stored forms need; wait for a store that is away."""
        for dictionary_id in self._codec.unknown(stored):
            while True:
                try:
                    self._know(dictionary_id, await self._stored(shard, dictionary_id) or b"")
                    break
                except ResponseError as error:  # what lies there is none, and will not be one by waiting
                    log.warning("a dictionary cannot be read", extra={"error": said(error)})
                    break
                except (RedisError, OSError, TimeoutError) as error:
                    log.warning("a dictionary waits for the store", extra={"error": said(error)})
                    await asyncio.sleep(RETRY_S)

    async def publish(self, shard: int, dictionary_id: bytes) -> None:
        """Bring a dictionary into a shard. Raises: redis.exceptions.RedisError."""
        dictionary = self._codec.known(dictionary_id)
        if dictionary is None:
            return
        closed = self._codec.vault.close(dictionary.content, dictionary_id)
        await self._store.command("SET", self._key(shard, dictionary_id), closed, "EX", KEPT_S)

    async def _current(self) -> bytes | None:
        found: bytes | None = await self._store.command("GET", self._store.keys.name(0, names.DICTIONARY))
        return found

    async def _learned(self) -> bytes | None:
        """Return the id of what was learned, by this process or by one that was quicker; None while there is none."""
        examples = self._codec.examples()
        content = await asyncio.to_thread(learn, examples, lambda: time.sleep(LETS_GO_ON_S)) if examples else None
        if content is None:
            return None
        dictionary = Dictionary(content)
        self._codec.know(dictionary)
        await self.publish(0, dictionary.id)
        key = self._store.keys.name(0, names.DICTIONARY)
        if await self._store.command("SET", key, dictionary.id, "NX", "EX", LEARNED_EVERY_S):
            log.info("a dictionary was learned", extra={"id": dictionary.id.hex(), "examples": len(examples or ())})
        return await self._current()

    async def _stored(self, shard: int, dictionary_id: bytes) -> bytes | None:
        found: bytes | None = await self._store.command("GET", self._key(shard, dictionary_id))
        return found

    def _key(self, shard: int, dictionary_id: bytes) -> bytes:
        return self._store.keys.name(shard, names.dictionary(dictionary_id))

    def _know(self, dictionary_id: bytes, closed: bytes) -> None:
        """Take a dictionary as it lies in the store; one that cannot be read stays unknown."""
        try:
            self._codec.know(Dictionary(self._codec.vault.open(closed, dictionary_id)))
        except (UnopenableError, zstandard.ZstdError) as error:
            log.warning("a dictionary cannot be read", extra={"id": dictionary_id.hex(), "error": str(error)})
