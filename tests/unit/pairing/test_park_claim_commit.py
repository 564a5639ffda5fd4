"""Observations become pairs, and pairs become results, exactly once. The store is in memory, without a server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shadowdiff.demo.memory_store import memory_client
from shadowdiff.model import Incr, Observation, Put, Result, Side
from shadowdiff.pairing import names
from shadowdiff.pairing.claim import Claim, Claimer, Judged, commit, ledger_write
from shadowdiff.pairing.codec import Codec, Dictionaries
from shadowdiff.pairing.ledger import read_ledger
from shadowdiff.pairing.observation_writer import ObservationWriter, PairingSettings
from shadowdiff.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

TARGET = "shop"


class LosesReplies:
    """A client that runs a call and loses the reply, the number of times in `lost`."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.lost = 0

    async def execute_command(self, *words: Any) -> Any:
        """Run the command, and raise instead of returning a lost reply."""
        reply = await cast("Any", self._client).execute_command(*words)
        if self.lost and words[0] in {"EVAL", "EVALSHA"}:
            self.lost -= 1
            raise RedisConnectionError("the reply is lost")
        return reply

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


class Pairing:
    """A writer, a claimer and the ledger of one shard."""

    def __init__(self, settings: PairingSettings) -> None:
        self.client = LosesReplies(memory_client())
        self.store = Store(cast("Any", self.client))
        codec = Codec()
        self.writer = ObservationWriter(self.store, codec, settings, "test", redact=str)
        self.settled: list[bool] = []
        self._dictionaries = Dictionaries(self.store, codec)

    def claimer(self, consumer: str = "one") -> Claimer:
        """Return a reader of the shard."""
        return Claimer(self.store, 0, consumer, [TARGET], self._dictionaries)

    async def write(self, side: Side, request_id: str = "a", **fields: Any) -> None:
        """Write one observation in its own flush."""
        assert self.writer.offer(_observation(side, request_id, **fields), self.settled.append)
        async with asyncio.timeout(60):
            while self.writer.queued:  # noqa: ASYNC110 - the writer's own tasks empty it
                await asyncio.sleep(0)

    async def pair(self, request_id: str = "a") -> None:
        """Write both observations of one request."""
        for side in (Side.PRIMARY, Side.CANDIDATE):
            await self.write(side, request_id)

    async def claims(self, consumer: str = "one") -> list[Claim]:
        """Claim the new pairs."""
        claimer = self.claimer(consumer)
        await claimer.open()
        return await claimer.read(100, 1)

    async def counts(self, side: Side) -> dict[str, int]:
        """Return the nonzero counts of a side."""
        ledger = await read_ledger(self.store, TARGET)
        return {name: count for name, count in ledger["observations"][side].items() if count}


def _observation(side: Side, request_id: str, **fields: Any) -> Observation:
    known: dict[str, Any] = {"side": side, "target": TARGET, "id": request_id, "id_source": "x-diff-id"}
    known |= {"method": "GET", "path": "/products/1", "host": TARGET, "status": 200, "attempt": 1}
    known |= {"body": b"{}", "body_bytes": 2}
    known |= fields
    return Observation(**known)


@pytest.fixture
async def pairing() -> AsyncIterator[Pairing]:
    """Run a writer that flushes immediately."""
    made = Pairing(PairingSettings(gather_s=0.0, settle_s=0.0, queue=3))
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(made.writer.run())
        yield made
        writing.cancel()
    await made.store.close()


@pytest.mark.parametrize("order", [(Side.PRIMARY, Side.CANDIDATE), (Side.CANDIDATE, Side.PRIMARY)])
async def test_either_order_makes_one_pair(pairing: Pairing, order: tuple[Side, Side]) -> None:
    """The pair has both payloads, and the ledger balances."""
    for side in order:
        await pairing.write(side)
    (claim,) = await pairing.claims()
    assert all((claim.key, claim.primary, claim.candidate))
    assert claim.control is None
    ledger = await read_ledger(pairing.store, TARGET)
    assert (1, 1, True) == (ledger["pairs"]["ready"], ledger["pairs"]["pending"], ledger["balanced"])
    assert [True, True] == pairing.settled


async def test_lost_reply_is_sent_again_and_runs_once(pairing: Pairing) -> None:
    """The script rejects a flush number that it has already run."""
    pairing.client.lost = 1
    await pairing.pair()
    assert 1 == len(await pairing.claims())
    assert {"parked": 1, "paired": 1} == await pairing.counts(Side.PRIMARY)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"parked": 2, "duplicate": 1, "waiting": 1}),
        ({"body": b"{ }"}, {"parked": 2, "ambiguous": 2}),
        ({"attempt": 2, "body": b"{ }"}, {"parked": 2, "replaced": 1, "waiting": 1}),
    ],
)
async def test_second_primary_is_counted_by_its_kind(
    pairing: Pairing, fields: dict[str, Any], expected: dict[str, int]
) -> None:
    """An equal response is a duplicate, another one is ambiguous, and a later attempt replaces the first."""
    await pairing.write(Side.PRIMARY)
    await pairing.write(Side.PRIMARY, **fields)
    assert expected == await pairing.counts(Side.PRIMARY)


async def test_observation_after_its_pair_is_late(pairing: Pairing) -> None:
    """A key never makes two pairs."""
    await pairing.pair()
    await pairing.write(Side.CANDIDATE)
    assert {"parked": 2, "paired": 1, "late": 1} == await pairing.counts(Side.CANDIDATE)
    assert 1 == len(await pairing.claims())


async def test_full_queue_rejects(pairing: Pairing) -> None:
    """The queue rejects the fourth observation, whose callback is never called."""
    offers = [pairing.writer.offer(_observation(Side.PRIMARY, str(n)), pairing.settled.append) for n in range(4)]
    assert [True, True, True, False] == offers
    assert 0 == await pairing.writer.drain(10)
    assert [True] * 3 == pairing.settled
    assert not pairing.writer.offer(_observation(Side.PRIMARY, "after the drain"), pairing.settled.append)


async def test_pair_is_claimed_once_until_it_is_idle(pairing: Pairing) -> None:
    """A second worker gets a claimed pair only by reclaiming it, which counts as a delivery."""
    await pairing.pair()
    (claim,) = await pairing.claims("one")
    assert [] == await pairing.claims("two")
    (reclaimed,) = await pairing.claimer("two").reclaim(10, 0)
    assert (claim.ref, 2) == (reclaimed.ref, reclaimed.deliveries)
    assert [] == await pairing.claimer("two").reclaim(10, 60)


async def test_deferred_claim_is_read_again(pairing: Pairing) -> None:
    """The same pair is read again, unless it was committed meanwhile."""
    await pairing.pair("a")
    await pairing.pair("b")
    kept, committed = await pairing.claims()
    claimer = pairing.claimer()
    await claimer.defer({kept.ref: 1, committed.ref: 1})
    await commit(pairing.store, 0, [Judged(committed, ())])
    (again,) = await claimer.read_deferred({kept.ref: 1, committed.ref: 1})
    assert (kept.ref, kept.primary, 1) == (again.ref, again.primary, again.deliveries)


async def test_commit_applies_writes_once(pairing: Pairing) -> None:
    """A second commit of the same pair returns False and changes nothing; shared writes count per pair."""
    await pairing.pair("a")
    await pairing.pair("b")
    shared = (ledger_write(TARGET, Result.MATCH), Incr("counts", "x", 2))
    batch = [Judged(claim, (*shared, Put("last", claim.entry, 60))) for claim in await pairing.claims()]
    assert [True, True] == await commit(pairing.store, 0, batch)
    assert [False, False] == await commit(pairing.store, 0, batch)
    assert {"x": 4} == await pairing.store.counts("counts")
    assert batch[1].claim.entry == await pairing.store.value("last")
    ledger = await read_ledger(pairing.store, TARGET)
    assert (2, 0, True) == (ledger["pairs"]["match"], ledger["pairs"]["pending"], ledger["balanced"])


async def test_commit_whose_reply_is_lost_is_not_repeated(pairing: Pairing) -> None:
    """The commit ran, so sending it again acknowledges nothing."""
    await pairing.pair()
    batch = [Judged(claim, (Incr("counts", "x", 1),)) for claim in await pairing.claims()]
    pairing.client.lost = 1
    with pytest.raises(RedisConnectionError):
        await commit(pairing.store, 0, batch)
    assert [False] == await commit(pairing.store, 0, batch)
    assert {"x": 1} == await pairing.store.counts("counts")


async def test_consumer_without_claims_leaves(pairing: Pairing) -> None:
    """A consumer with a claim stays, so that others can reclaim it."""
    await pairing.pair()
    (claim,) = await pairing.claims("one")
    stream = pairing.store.keys.name(0, names.ready(TARGET))

    async def consumers() -> int:
        return len(await pairing.store.command("XINFO", "CONSUMERS", stream, names.GROUP))

    await pairing.claimer("one").leave()
    assert 1 == await consumers()
    await commit(pairing.store, 0, [Judged(claim, ())])
    await pairing.claimer("one").leave()
    assert 0 == await consumers()
