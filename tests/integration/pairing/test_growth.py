"""The Redis calls per pair do not depend on the number of waiting or earlier pairs."""

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
    """Return how often each command ran on all servers, including scripts."""
    calls: Counter[str] = Counter()
    for command_stats in await on_every_server(store, "INFO", "commandstats"):
        calls.update({name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in command_stats.items()})
    return Counter({name: count for name, count in calls.items() if not name.startswith(OF_CONNECTIONS)})


async def _park_together(bench: Bench, side: Side, ids: range) -> None:
    """Park all observations in one flush per shard."""
    before = len(bench.settled)
    assert all(bench.parker.offer(observed(side, f"{number:08d}"), bench.settled.append) for number in ids)
    await until(lambda: len(bench.settled) == before + len(ids))


async def _pairs(bench: Bench, ids: range) -> Counter[str]:
    """Process pairs from their observations to the commit; return the number of calls."""
    before = await _calls(bench.store)
    for side in (Side.PRIMARY, Side.CANDIDATE):
        await _park_together(bench, side, ids)
    claims = await bench.claims()
    assert [True] * len(ids) == await bench.commit(claims)
    return (await _calls(bench.store)) - before


async def test_calls_per_pair_do_not_depend_on_waiting_pairs(bench: Bench) -> None:
    """The calls of each command are the same with an empty store and with thousands of pairs."""
    await _pairs(bench, range(PAIRS))  # loads the scripts on the servers
    alone = await _pairs(bench, range(PAIRS, 2 * PAIRS))
    for first in range(10_000, 10_000 + WAITING, 100):
        await _park_together(bench, Side.PRIMARY, range(first, first + 100))
    ledger = await bench.ledger()
    assert WAITING == ledger["observations"]["primary"]["waiting"]
    assert alone == await _pairs(bench, range(2 * PAIRS, 3 * PAIRS))
    assert alone["xadd"] == alone["xack"] == PAIRS
