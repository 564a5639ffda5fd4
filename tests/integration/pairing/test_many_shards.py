"""With hundreds of shards each has its own call in flight, and every call gets a connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from shadowdiff.store import connections
from tests.integration.pairing.conftest import Bench, observed

if TYPE_CHECKING:
    from shadowdiff.store import Store

SHARDS, PAIRS = 512, 4_096
PATIENCE_S = 100.0


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> tuple[int, bool]:
    """Use many shards of one server, with deadlines that a busy machine meets, so only connections can run out."""
    monkeypatch.setattr(connections, "CALL_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", PATIENCE_S)
    return SHARDS, False


async def test_every_shard_is_served_at_once(store: Store, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """No shard waits for another one, and no shard logs a missing connection."""
    with caplog.at_level(logging.WARNING):
        for side in (Side.PRIMARY, Side.CANDIDATE):
            assert all(bench.parker.offer(observed(side, f"{n}"), bench.settled.append) for n in range(PAIRS))
        assert 0 == await bench.parker.drain(PATIENCE_S)
        claims = await bench.claims()
    assert len({claim.shard for claim in claims}) > 0.9 * store.shards
    assert PAIRS == (await bench.ledger())["pairs"]["ready"]
    assert [] == caplog.messages
