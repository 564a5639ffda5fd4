"""Calls are gathered for as long as one process on one shard needs to see the same number of observations."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from shadowdiff.store import Store


@pytest.mark.parametrize(
    ("shards", "processes", "times"), [(1, 1, 1), (4, 1, 1), (8, 1, 2), (1, 2, 2), (1, 3, 3), (16, 1, 4), (64, 8, 4)]
)
def test_many_senders_collect_writes_for_longer(shards: int, processes: int, times: float) -> None:
    """More shards and processes gather for up to four times as long, so a result is 0.2 s later."""
    assert times == Store(Redis(), shards=shards, processes=processes).gather_stretch
