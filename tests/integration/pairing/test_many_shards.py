"""Over hundreds of shards each has its own call on its way, and all of them find a connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from tests.integration.pairing.conftest import Bench, observed, until

if TYPE_CHECKING:
    from shadowdiff.store import Store

SHARDS, PAIRS = 512, 4_096


@pytest.fixture
def where() -> tuple[int, bool]:
    """Take the place of those that the contract of pairing is run in."""
    return SHARDS, False


async def test_every_shard_is_served_at_once(store: Store, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing waits because another shard is being asked."""
    with caplog.at_level(logging.WARNING):
        for side in (Side.PRIMARY, Side.CANDIDATE):
            assert all(bench.parker.offer(observed(side, f"{n}"), bench.settled.append) for n in range(PAIRS))
        await until(lambda: len(bench.settled) == 2 * PAIRS)
        claims = await bench.claims()
    assert len({claim.shard for claim in claims}) > 0.9 * store.shards
    assert PAIRS == (await bench.ledger())["pairs"]["ready"]
    assert [] == caplog.messages
