"""Provide a real Redis, emptied for each test, and the fake that runs within this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fakeredis
import pytest

from shadowdiff.store import Store, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import RedisServer


@pytest.fixture(params=["redis", "fake"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Yield an empty store: a real Redis, or the fake for machines without Redis."""
    if request.param == "fake":
        client: Redis = fakeredis.FakeAsyncRedis()
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        client = connect(server.unix_url)
        await client.flushdb()  # pyright: ignore[reportUnknownMemberType] - untyped there
    made = Store(client)
    yield made
    await made.close()
