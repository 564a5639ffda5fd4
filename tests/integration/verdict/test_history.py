"""Counts over time are written to and read from a real Redis."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shadowdiff.store import Store, connect
from shadowdiff.verdict import read_history

if TYPE_CHECKING:
    from tests.conftest import RedisServer

NOW_MS = 1_772_000_055_000


async def test_window_is_summed_over_all_shards_and_buckets(redis_server: RedisServer) -> None:
    """A month of hours needs several calls of a few hundred buckets each."""
    store = Store(connect(redis_server.url), prefix=f"h{os.urandom(4).hex()}", shards=3)
    for shard in range(3):
        for hours_ago in (1, 400, 800):
            name = f"time:shop:hour:{NOW_MS // 3_600_000 - hours_ago}:match"
            await store.command("HINCRBY", store.keys.name(shard, name), "GET /", 5)
    found = await read_history(store, "shop", NOW_MS - 34 * 86_400_000, NOW_MS, NOW_MS)
    await store.close()
    assert (45, 817) == (found.results["match"], len(found.points))
    assert [15, 15, 15] == [point.results["match"] for point in found.points if point.results["match"]]
