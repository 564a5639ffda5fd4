"""How long calls are gathered: as long as one process on one shard would take to see as many observations."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from shadowdiff.store import Store


@pytest.mark.parametrize(
    ("shards", "processes", "times"), [(1, 1, 1), (4, 1, 1), (8, 1, 2), (1, 2, 2), (1, 3, 3), (16, 1, 4), (64, 8, 4)]
)
def test_what_many_share_is_gathered_for_longer(shards: int, processes: int, times: float) -> None:
    """Shards and processes alike, up to four times: a result is late by 0.2 s then, and nobody waits for it."""
    assert times == Store(Redis(), shards=shards, processes=processes).patience
