"""What Redis is asked for a pair does not depend on how many wait, nor on how many there were."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shadowdiff.model import Side
from tests.integration.pairing.conftest import Bench, observed, on_every_server, until

if TYPE_CHECKING:
    from shadowdiff.store import Store

PAIRS = 96
WAITING = 3_000
OF_CONNECTIONS = ("client", "hello", "cluster", "info", "ping", "select", "command", "readonly")


async def _calls(store: Store) -> Counter[str]:
    """Return how often each command ran on all servers, those within scripts too."""
    calls: Counter[str] = Counter()
    for told in await on_every_server(store, "INFO", "commandstats"):
        calls.update({name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in told.items()})
    return Counter({name: count for name, count in calls.items() if not name.startswith(OF_CONNECTIONS)})


async def _park_together(bench: Bench, side: Side, ids: range) -> None:
    """Park all in one flush a shard."""
    before = len(bench.settled)
    assert all(bench.parker.offer(observed(side, f"{number:08d}"), bench.settled.append) for number in ids)
    await until(lambda: len(bench.settled) == before + len(ids))


async def _pairs(bench: Bench, ids: range) -> Counter[str]:
    """Take pairs from their halves to the commit; return the calls that they cost."""
    before = await _calls(bench.store)
    for side in (Side.PRIMARY, Side.CANDIDATE):
        await _park_together(bench, side, ids)
    claims = await bench.claims()
    assert [True] * len(ids) == await bench.commit(claims)
    return (await _calls(bench.store)) - before


async def test_a_pair_costs_the_same_calls_however_many_wait(bench: Bench) -> None:
    """Command by command: with nothing in the store, and with thousands that wait and were seen."""
    await _pairs(bench, range(PAIRS))  # by which the servers learn the scripts
    alone = await _pairs(bench, range(PAIRS, 2 * PAIRS))
    for first in range(10_000, 10_000 + WAITING, 100):
        await _park_together(bench, Side.PRIMARY, range(first, first + 100))
    ledger = await bench.ledger()
    assert WAITING == ledger["observations"]["primary"]["waiting"]
    assert alone == await _pairs(bench, range(2 * PAIRS, 3 * PAIRS))
    assert alone["xadd"] == alone["xack"] == PAIRS
