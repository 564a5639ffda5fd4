"""Shelves that take the writes of judged pairs as the workers' commit does, and can be read.

The store in memory, real Redis on one shard and on several, and the fake that serves where no Redis runs.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest
from redis.exceptions import ResponseError

from shadowdiff.pairing import Claim, Judged, commit, names
from shadowdiff.store import Store, connect
from shadowdiff.store.embedded_fake import FakeStore
from tests.fakes.store_reader import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shadowdiff.model import Write
    from shadowdiff.model.reader import StoreReader
    from tests.conftest import RedisServer

TARGET = "shop"


class Shelf(Protocol):
    """Something that takes writes, and can be read."""

    @property
    def reader(self) -> StoreReader:
        """What reads it."""
        ...

    async def put(self, *entries: Sequence[Write]) -> None:
        """Commit the writes of some pairs, one batch a shard."""
        ...


class MemoryShelf:
    """The store in memory."""

    def __init__(self) -> None:
        self.reader = MemoryStore()

    async def put(self, *entries: Sequence[Write]) -> None:
        """Commit the writes of some pairs."""
        for writes in entries:
            self.reader.commit(writes)


@dataclass
class StoreShelf:
    """A store behind the commit script; pairs fall to its shards in turn."""

    reader: Store
    _next: int = field(default=0)

    async def put(self, *entries: Sequence[Write]) -> None:
        """Commit the writes of some pairs, one batch a shard."""
        store = self.reader
        of_shard: dict[int, list[Sequence[Write]]] = {}
        for writes in entries:
            of_shard.setdefault(self._next % store.shards, []).append(writes)
            self._next += 1
        for shard, batch in of_shard.items():
            claims = await self._claims(shard, len(batch))
            judged = [Judged(claim, tuple(writes)) for claim, writes in zip(claims, batch, strict=True)]
            assert [True] * len(batch) == await commit(store, shard, judged)

    async def _claims(self, shard: int, n: int) -> list[Claim]:
        """Return claims on entries that lie in the stream as a worker's do."""
        store, stream = self.reader, self.reader.keys.name(shard, names.ready(TARGET))
        with suppress(ResponseError):  # the group is there already
            await store.command("XGROUP", "CREATE", stream, names.GROUP, "0", "MKSTREAM")
        entries = [await store.command("XADD", stream, "*", "k", "x") for _ in range(n)]
        await store.command("XREADGROUP", "GROUP", names.GROUP, "me", "COUNT", n, "STREAMS", stream, ">")
        return [Claim(shard, TARGET, entry, b"", b"", b"", None, 0.0) for entry in entries]


@pytest.fixture(params=["memory", "one shard", "four shards", "fake"])
async def shelf(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Shelf]:
    """Run each test on all of them."""
    if request.param == "memory":
        yield MemoryShelf()
        return
    shards = 4 if request.param == "four shards" else 1
    client = FakeStore().client() if request.param == "fake" else connect(redis_server.unix_url)
    store = Store(client, shards=shards)
    await store.command("FLUSHALL")
    yield StoreShelf(store)
    await store.close()
