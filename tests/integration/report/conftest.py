"""Stores for tests of reports: a test commits the writes of compared pairs, as workers do, and then reads them.

The stores are the store in memory, real Redis on one shard and on several, and the fake for machines without Redis.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest
from redis.exceptions import ResponseError

from shadowdiff.demo.memory_store import memory_client
from shadowdiff.pairing import names
from shadowdiff.pairing.claim import Claim, Judged, commit
from shadowdiff.store import Store, connect
from tests.fakes.later import done
from tests.fakes.store_reader import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shadowdiff.model import Later, Write
    from shadowdiff.model.store_reader import StoreReader
    from tests.conftest import RedisServer

TARGET = "shop"


class Backend(Protocol):
    """A store that accepts writes and has a reader."""

    @property
    def reader(self) -> StoreReader:
        """Return the reader."""
        ...

    async def put(self, *entries: Sequence[Write | Later]) -> None:
        """Commit the writes of some pairs, one batch per shard."""
        ...


class MemoryBackend:
    """The store in memory."""

    def __init__(self) -> None:
        self.reader = MemoryStore()

    async def put(self, *entries: Sequence[Write | Later]) -> None:
        """Commit the writes of some pairs."""
        for writes in entries:
            self.reader.commit(writes)


@dataclass
class StoreBackend:
    """A store behind the commit script, whose shards get pairs in turn."""

    reader: Store
    _next: int = field(default=0)

    async def put(self, *entries: Sequence[Write | Later]) -> None:
        """Commit the writes of some pairs, one batch per shard."""
        store = self.reader
        of_shard: dict[int, list[Sequence[Write | Later]]] = {}
        for writes in entries:
            of_shard.setdefault(self._next % store.shards, []).append(writes)
            self._next += 1
        for shard, batch in of_shard.items():
            claims = await self._claims(shard, len(batch))
            judged = [Judged(claim, tuple(done(writes))) for claim, writes in zip(claims, batch, strict=True)]
            assert [True] * len(batch) == await commit(store, shard, judged)

    async def _claims(self, shard: int, n: int) -> list[Claim]:
        """Return claims on entries in the stream, like those of a worker."""
        store, stream = self.reader, self.reader.keys.name(shard, names.ready(TARGET))
        with suppress(ResponseError):  # the group already exists
            await store.command("XGROUP", "CREATE", stream, names.GROUP, "0", "MKSTREAM")
        entries = [await store.command("XADD", stream, "*", "k", "x") for _ in range(n)]
        await store.command("XREADGROUP", "GROUP", names.GROUP, "me", "COUNT", n, "STREAMS", stream, ">")
        return [Claim(shard, TARGET, entry, b"", b"", b"", None, 0.0) for entry in entries]


@pytest.fixture(params=["memory", "one shard", "four shards", "fake"])
async def backend(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Backend]:
    """Run each test on all of these stores."""
    if request.param == "memory":
        yield MemoryBackend()
        return
    shards = 4 if request.param == "four shards" else 1
    client = memory_client() if request.param == "fake" else connect(redis_server.unix_url)
    store = Store(client, shards=shards)
    await store.command("FLUSHALL")
    yield StoreBackend(store)
    await store.close()
