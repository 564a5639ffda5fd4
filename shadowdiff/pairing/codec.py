"""Encode observations for Redis: as msgpack, which the store's value codec compresses and encrypts.

Processes learn compression dictionaries from traffic, and exchange them through the store. A shard rejects an
observation if it lacks its dictionary (`park.lua`); the writer then calls `publish`. A dictionary is kept as long as
data that was encoded with it may exist. Twice a day, the first process that tries learns a new dictionary. Without a
dictionary, observations are stored without one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import zstandard
from redis.exceptions import ResponseError

from shadowdiff.model import Observation
from shadowdiff.pairing import names
from shadowdiff.store import (
    MAX_VALUE_BYTES,
    STORE_ERRORS,
    Dictionary,
    ValueCodec,
    ValueCodecError,
    describe_error,
    dictionary_id_of,
    learn,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.store import Store

log = logging.getLogger(__name__)

MOST_DICTIONARIES: Final = 64
"""Dictionaries in memory; the oldest is dropped first."""
EXAMPLES: Final = 300
EXAMPLE_BYTES: Final = 4096
"""How much of each body an example contains. Similar bodies have similar beginnings."""
SEPARATE_BODY_BYTES: Final = 8192
"""From this size, a body is compressed without a dictionary, which would take 1.5 times as long and save nothing."""
_HEADS_BYTES: Final = 4 << 20
REFRESH_S: Final = 5.0
LEARNED_EVERY_S: Final = 43_200
KEPT_S: Final = 7 * 86_400
"""How long a dictionary is stored after its last use, because a ready pair may wait until a worker runs."""
RETRY_S: Final = 0.25
YIELD_S: Final = 0.001
"""A pause after each example. Without it, the event loop would run only every 5 ms."""


class UndecodableError(Exception):
    """A stored observation cannot be decoded: it is damaged or was encrypted with another key."""


class Codec:
    """Encodes and decodes observations with one buffer key (32 bytes); without a key they are not encrypted.

    dictionaries: the dictionaries in memory, by id.  current: the dictionary for new observations, if there is one.
    body_bytes: the size limit of a body; an observation has up to two bodies.
    """

    def __init__(self, key: bytes | None = None, body_bytes: int = 0) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Observation)
        self.dictionaries: dict[bytes, Dictionary] = {}
        self._examples: list[bytes] | None = None
        most_bytes = max(MAX_VALUE_BYTES, 2 * body_bytes + _HEADS_BYTES)
        self.value_codec = ValueCodec(key, self.dictionaries.get, most_bytes)
        self.current: Dictionary | None = None

    def encode(self, key: bytes, observation: Observation) -> bytes:
        """Return the stored form of `observation` for the pair's `key`."""
        if self._examples is not None and len(self._examples) < EXAMPLES:
            short = {name: getattr(observation, name)[:EXAMPLE_BYTES] for name in ("body", "request_body")}
            self._examples.append(self._encoder.encode(msgspec.structs.replace(observation, **short)))
        if self.current is not None and len(observation.body) >= SEPARATE_BODY_BYTES:
            head = self._encoder.encode(msgspec.structs.replace(observation, body=b""))
            return self.value_codec.encode(head, key, self.current, observation.body)
        return self.value_codec.encode(self._encoder.encode(observation), key, self.current)

    def decode(self, key: bytes, stored: bytes) -> Observation:
        """Return the observation. Raises: UndecodableError."""
        try:
            payload, body = self.value_codec.decode_parts(stored, key)
            observation = self._decoder.decode(payload)
            return msgspec.structs.replace(observation, body=body) if body else observation
        except ValueCodecError as error:
            raise UndecodableError(f"cannot decode a stored observation: {error}") from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UndecodableError(f"the observation is damaged: {error}") from error

    def add_dictionary(self, dictionary: Dictionary) -> None:
        """Also decode values that were encoded with this compression dictionary."""
        self.dictionaries.setdefault(dictionary.id, dictionary)
        if len(self.dictionaries) > MOST_DICTIONARIES:
            oldest = next(name for name, known in self.dictionaries.items() if known is not self.current)
            del self.dictionaries[oldest]

    def take_examples(self) -> list[bytes] | None:
        """Return and remove the examples to learn from; None while there are too few examples."""
        self._examples = self._examples or []
        if len(self._examples) < EXAMPLES:
            return None
        examples, self._examples = self._examples, None
        return examples


@dataclass(slots=True)
class Dictionaries:
    """One process's dictionaries. `run` learns them, `fetch` reads them from the store, `publish` writes them."""

    store: Store
    codec: Codec

    async def run(self) -> None:
        """Learn dictionaries, and use dictionaries that other processes learned, until cancelled."""
        while True:
            try:
                await self.refresh()
            except STORE_ERRORS as error:
                extra = {"error": describe_error(error)}
                log.debug("store unavailable; will retry storing compression dictionaries", extra=extra)
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Use the store's current dictionary, or learn one if it has none. Raises: redis.exceptions.RedisError."""
        current = await self._get(0, names.DICTIONARY) or await self._learn()
        if current is None or (self.codec.current is not None and self.codec.current.id == current):
            return
        if current not in self.codec.dictionaries:
            value = await self._get(0, names.dictionary(current))
            if value is None:  # only the dictionary's id is left, so learn a new one
                await self.store.command("DEL", self.store.keys.name(0, names.DICTIONARY))
                return
            self._add(current, value)
        self.codec.current = self.codec.dictionaries.get(current)

    async def fetch(self, shard: int, values: Iterable[bytes | None]) -> None:
        """Fetch the compression dictionaries of these stored values. Wait until the store is available."""
        needed = {one for value in values if value and (one := dictionary_id_of(value))}
        for dictionary_id in needed - self.codec.dictionaries.keys():
            while True:
                try:
                    self._add(dictionary_id, await self._get(shard, names.dictionary(dictionary_id)) or b"")
                    break
                except ResponseError as error:  # the key has another type, and a retry cannot help
                    log.warning("dictionary unreadable", extra={"error": describe_error(error)})
                    break
                except STORE_ERRORS as error:
                    extra = {"error": describe_error(error)}
                    log.warning("store unavailable; will retry reading a compression dictionary", extra=extra)
                    await asyncio.sleep(RETRY_S)

    async def publish(self, shard: int, dictionary_id: bytes) -> None:
        """Write a dictionary to a shard. Raises: redis.exceptions.RedisError."""
        dictionary = self.codec.dictionaries.get(dictionary_id)
        if dictionary is None:
            return
        value = self.codec.value_codec.encode(dictionary.content, dictionary_id)
        key = self.store.keys.name(shard, names.dictionary(dictionary_id))
        await self.store.command("SET", key, value, "EX", KEPT_S)

    async def _get(self, shard: int, name: str) -> bytes | None:
        value: bytes | None = await self.store.command("GET", self.store.keys.name(shard, name))
        return value

    async def _learn(self) -> bytes | None:
        """Return the id of the dictionary that this process or a faster process learned, or None."""
        examples = self.codec.take_examples()
        content = await asyncio.to_thread(learn, examples, lambda: time.sleep(YIELD_S)) if examples else None
        if content is None:
            return None
        dictionary = Dictionary(content)
        self.codec.add_dictionary(dictionary)
        await self.publish(0, dictionary.id)
        key = self.store.keys.name(0, names.DICTIONARY)
        if await self.store.command("SET", key, dictionary.id, "NX", "EX", LEARNED_EVERY_S):
            log.info("dictionary learned", extra={"id": dictionary.id.hex(), "examples": len(examples or ())})
        return await self._get(0, names.DICTIONARY)

    def _add(self, dictionary_id: bytes, value: bytes) -> None:
        """Use a compression dictionary from the store; ignore an unreadable dictionary."""
        try:
            self.codec.add_dictionary(Dictionary(self.codec.value_codec.decode(value, dictionary_id)))
        except (ValueCodecError, zstandard.ZstdError) as error:
            log.warning("dictionary unreadable", extra={"id": dictionary_id.hex(), "error": str(error)})
