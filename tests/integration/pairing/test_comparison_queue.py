"""Pairs above the limit of the comparison processes wait in the store: none is lost, and none delays others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from shadowdiff.store import Script
from shadowdiff.worker.comparison_queue import ComparisonQueue
from tests.integration.pairing.conftest import TARGET, Bench, observed, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from shadowdiff.pairing.claim import Claim, Claimer

PAIRS = 40
FEW = 3


@pytest.fixture
def where() -> tuple[int, bool]:
    """Run each test on one shard, because each shard's worker has its own queue."""
    return 1, False


async def ready(bench: Bench, pairs: int) -> list[Claim]:
    """Park this number of pairs, and claim them."""
    for number in range(pairs):
        await bench.park(observed(Side.CANDIDATE, f"r{number}"), observed(Side.PRIMARY, f"r{number}"))
    await bench.sweep_until(lambda books: books["pairs"]["ready"] == pairs)
    claims = await bench.claims()
    assert pairs == len(claims)
    return claims


@dataclass
class Work:
    """Finishes pairs when allowed, and records how many it had at once."""

    bench: Bench
    may: asyncio.Event = field(default_factory=asyncio.Event)
    at_work: int = 0
    most: int = 0
    done: list[Claim] = field(default_factory=list["Claim"])

    async def __call__(self, claim: Claim) -> None:
        """Finish one pair."""
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        await self.may.wait()
        self.at_work -= 1
        assert [True] == await self.bench.commit([claim])
        self.done.append(claim)


@asynccontextmanager
async def queue_of(
    work: Work, claimer: Claimer, most_bytes: int, most_deferred: int = 1000
) -> AsyncGenerator[tuple[ComparisonQueue, asyncio.TaskGroup]]:
    """Return a queue that reads its own pairs."""
    queue = ComparisonQueue(
        claimer, work, at_once=asyncio.Semaphore(100), most_bytes=most_bytes, most_deferred=most_deferred
    )
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(queue.feed(group))
        yield queue, group
        feeding.cancel()


DELIVERIES = Script(
    b"local found = {} for i, row in ipairs(redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 1000)) do"
    b" found[i] = row[4] end return found",
)


async def deliveries(bench: Bench) -> list[int]:
    """Return the delivery count of each pending pair, from the store."""
    return await bench.store.run(DELIVERIES, 0, [f"ready:{TARGET}"], [])


async def test_pairs_above_the_limit_wait_in_the_store_and_all_finish(bench: Bench) -> None:
    """Adding never blocks. The queue holds the pairs that fit, and each finishes once, the oldest first."""
    claims = await ready(bench, PAIRS)
    work = Work(bench)
    most_bytes = sum(claim.stored_bytes for claim in claims[:FEW])
    async with queue_of(work, bench.claimer(), most_bytes) as (queue, group):
        assert [] == await queue.add(claims, group)
        await until(lambda: work.at_work == FEW)
        assert (PAIRS - FEW, most_bytes) == (queue.deferred, queue.held_bytes)
        assert all(claim in queue for claim in claims)
        work.may.set()
        await until(lambda: len(work.done) == PAIRS)
        assert (0, 0) == (queue.deferred, queue.held_bytes)
    assert work.most <= FEW
    assert [claim.entry for claim in claims] == sorted(claim.entry for claim in work.done)
    books = await bench.ledger()
    assert (PAIRS, 0, True) == (books["pairs"]["match"], books["pairs"]["pending"], books["balanced"])


async def test_a_pair_larger_than_the_limit_is_processed_alone(bench: Bench) -> None:
    """A pair above the limit must not wait forever, so it is processed alone."""
    claims = await ready(bench, 3)
    work = Work(bench)
    work.may.set()
    async with queue_of(work, bench.claimer(), most_bytes=1) as (queue, group):
        await queue.add(claims, group)
        await until(lambda: len(work.done) == len(claims))
    assert 1 == work.most


async def test_pairs_above_the_waiting_limit_are_returned_at_once(bench: Bench) -> None:
    """The worker commits pairs above the limit with a result, so these pairs count."""
    claims = await ready(bench, PAIRS)
    work = Work(bench)
    async with queue_of(work, bench.claimer(), most_bytes=1, most_deferred=10) as (queue, group):
        refused = await queue.add(claims, group)
        assert (PAIRS - 11, 10) == (len(refused), queue.deferred)
        work.may.set()
        await until(lambda: len(work.done) == 11)
    assert [True] * len(refused) == await bench.commit(refused)


async def test_waiting_in_the_store_does_not_count_as_a_delivery(bench: Bench) -> None:
    """A pair that no worker started is not blamed for a crash. Reading it again keeps its delivery count."""
    claims = await ready(bench, 5)
    work, claimer = Work(bench), bench.claimer()
    async with queue_of(work, claimer, most_bytes=1) as (queue, group):
        await queue.add(claims, group)
        assert [1, 0, 0, 0, 0] == await deliveries(bench)
        again = await claimer.read_deferred({claim.ref: claim.deliveries for claim in claims[1:3]})
        assert [1, 1, 1, 0, 0] == await deliveries(bench)
        assert claims[1:3] == again
        await claimer.defer({claim.ref: claim.deliveries for claim in claims[1:3]})
        work.may.set()
        await until(lambda: len(work.done) == 5)


async def test_a_stopping_worker_releases_waiting_pairs_at_once(bench: Bench) -> None:
    """Other workers get the released pairs like new ones."""
    claims = await ready(bench, 5)
    work, claimer = Work(bench), bench.claimer("leaving")
    async with queue_of(work, claimer, most_bytes=1) as (queue, group):
        await queue.add(claims, group)
        await queue.keep()
        assert [] == await bench.claimer("other").reclaim(10, 30.0)
        work.may.set()
    assert claims[:1] == work.done
    await queue.leave(30.0)
    taken = await bench.claimer("other").reclaim(10, 30.0)
    assert [(claim.ref, 1) for claim in claims[1:]] == [(claim.ref, claim.deliveries) for claim in taken]
    assert [True] * len(taken) == await bench.commit(taken)


async def test_pairs_committed_by_another_worker_are_dropped(bench: Bench) -> None:
    """The queue does not read these pairs again."""
    claims = await ready(bench, 6)
    work = Work(bench)
    async with queue_of(work, bench.claimer(), most_bytes=1) as (queue, group):
        await queue.add(claims, group)
        await bench.commit(claims[2:])
        work.may.set()
        await until(lambda: queue.deferred == 0)
    assert claims[:2] == work.done
