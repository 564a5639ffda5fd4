"""Real Redis returns each pair exactly once, in whatever order its observations arrived."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from shadowdiff.model import Failure, Incr, Push, Put, Result, Side
from shadowdiff.pairing.claim import Judged, commit, ledger_write
from shadowdiff.pairing.observation_writer import Flush, PairingSettings, QueuedObservation, head_of
from shadowdiff.store import Store, StoreMismatchError
from tests.integration.pairing.conftest import TARGET, Bench, observed, on_every_server, running, until

PRIMARY, CANDIDATE, CONTROL = Side.PRIMARY, Side.CANDIDATE, Side.CONTROL


@pytest.mark.parametrize("order", list(itertools.permutations([PRIMARY, CANDIDATE])))
async def test_either_arrival_order_gives_one_pair(bench: Bench, order: tuple[Side, ...]) -> None:
    """The two halves meet in any order, and nothing waits afterwards."""
    await bench.park(*(observed(side, body=side.encode(), body_bytes=len(side)) for side in order))
    (claim,) = await bench.claims()
    assert (b"primary", b"candidate") == (bench.body(claim, PRIMARY), bench.body(claim, CANDIDATE))
    assert [True] == await bench.commit([claim])
    ledger = await bench.ledger()
    assert {"ready": 1, "match": 1, "ignored": 0, "mismatch": 0, "incomparable": 0, "pending": 0} == ledger["pairs"]
    assert ledger["balanced"]
    assert 1.0 == ledger["coverage"]["ratio"]


async def test_arrival_order_never_changes_the_pairs(bench: Bench) -> None:
    """Two hundred halves in random order give a hundred pairs, each of its own two halves."""
    halves = [
        observed(side, str(n), body=str(n).encode(), body_bytes=0) for n in range(100) for side in (PRIMARY, CANDIDATE)
    ]
    random.Random(7).shuffle(halves)
    await bench.park(*halves)
    claims = await bench.claims()
    bodies = [(bench.body(claim, PRIMARY), bench.body(claim, CANDIDATE)) for claim in claims]
    assert sorted((str(n).encode(), str(n).encode()) for n in range(100)) == sorted(bodies)
    assert (await bench.ledger())["balanced"]


async def test_a_commit_counts_once_however_often_it_is_sent(bench: Bench) -> None:
    """A second commit of the same pair returns False and changes nothing."""
    await bench.park(observed(PRIMARY), observed(CANDIDATE))
    (claim,) = await bench.claims()
    writes = (ledger_write(TARGET, Result.MATCH), Incr("counts", "seen"), Push("list", b"x", 5), Put("item", b"y", 60))
    assert [True] == await commit(bench.store, claim.shard, [Judged(claim, writes)])
    assert [False] == await commit(bench.store, claim.shard, [Judged(claim, writes)])
    assert {"seen": 1} == await bench.store.counts("counts")
    assert [b"x"] == await bench.store.newest("list", 10)
    assert b"y" == await bench.store.value("item")
    assert 1 == (await bench.ledger())["pairs"]["match"]


async def test_a_hash_above_its_cap_counts_under_other(bench: Bench) -> None:
    """New fields above the cap go to `_other`, and known ones still count."""
    for n in range(4):
        await bench.park(observed(PRIMARY, str(n)), observed(CANDIDATE, str(n)))
    claims = sorted(await bench.claims(), key=lambda claim: claim.shard)
    first = claims[0].shard
    for n, claim in enumerate(claim for claim in claims if claim.shard == first):
        await commit(bench.store, first, [Judged(claim, (Incr("capped", f"f{n}", cap=2), Incr("capped", "f0", cap=2)))])
    counts = await bench.store.counts("capped")
    committed = sum(claim.shard == first for claim in claims)
    assert committed + min(committed, 1) == counts["f0"]
    assert max(0, committed - 2) == counts.get("_other", 0)


async def test_an_id_used_twice_after_its_pair_counts_late(bench: Bench) -> None:
    """The tombstone rejects later observations of both sides."""
    await bench.park(observed(PRIMARY), observed(CANDIDATE), observed(PRIMARY, status=404), observed(CANDIDATE))
    assert 1 == len(await bench.claims())
    ledger = await bench.ledger()
    assert (1, 1) == (ledger["observations"]["primary"]["late"], ledger["observations"]["candidate"]["late"])
    assert ledger["balanced"]


async def test_the_same_side_twice_is_a_duplicate_when_equal(bench: Bench) -> None:
    """An equal response with an equal attempt is dropped and counted."""
    await bench.park(observed(PRIMARY), observed(PRIMARY), observed(CANDIDATE))
    assert 1 == len(await bench.claims())
    ledger = await bench.ledger()
    assert 1 == ledger["observations"]["primary"]["duplicate"]
    assert ledger["balanced"]


async def test_the_same_side_twice_is_ambiguous_when_unequal(bench: Bench) -> None:
    """If two different requests used a key, it is not compared."""
    await bench.park(observed(PRIMARY), observed(PRIMARY, status=404), observed(CANDIDATE))
    assert [] == await bench.claims()
    ledger = await bench.ledger()
    assert 2 == ledger["observations"]["primary"]["ambiguous"]
    assert 1 == ledger["observations"]["candidate"]["ambiguous"]
    assert 0 == ledger["observations"]["primary"]["waiting"]
    assert ledger["balanced"]


@pytest.mark.parametrize("candidate_at", range(3))
async def test_the_highest_attempt_is_compared(bench: Bench, candidate_at: int) -> None:
    """The 200 after a retry replaces the 503, even if the candidate's half arrives between them."""
    halves = [observed(PRIMARY, status=503, attempt=1), observed(PRIMARY, body=b"ok", body_bytes=2, attempt=2)]
    halves.insert(candidate_at, observed(CANDIDATE))
    await bench.park(*halves)
    (claim,) = await bench.claims()
    assert b"ok" == bench.body(claim, PRIMARY)
    ledger = await bench.ledger()
    assert (1, 1) == (ledger["observations"]["primary"]["replaced"], ledger["observations"]["primary"]["paired"])
    assert ledger["balanced"]


async def test_an_earlier_attempt_that_comes_later_is_replaced_too(bench: Bench) -> None:
    """Records may overtake each other."""
    await bench.park(observed(PRIMARY, attempt=2), observed(PRIMARY, status=503, attempt=1), observed(CANDIDATE))
    (claim,) = await bench.claims()
    assert b'{"price": 1}' == bench.body(claim, PRIMARY)
    assert 1 == (await bench.ledger())["observations"]["primary"]["replaced"]


@pytest.mark.parametrize(
    "change", [{"status": 503}, {"status": 0, "failure": Failure.RESET}, {"headers": ((b"grpc-status", b"14"),)}]
)
async def test_a_response_that_may_be_retried_settles_before_it_pairs(bench: Bench, change: dict[str, Any]) -> None:
    """A 5xx, a reset or a failed gRPC call waits for `settle`, then pairs unchanged."""
    await bench.park(observed(PRIMARY, **change), observed(CANDIDATE))
    assert 0 == (await bench.ledger())["pairs"]["ready"]
    ledger = await bench.sweep_until(lambda books: books["pairs"]["ready"] == 1)
    assert ledger["balanced"]
    assert 1 == len(await bench.claims())


async def test_a_shared_id_settles_and_is_keyed_by_path_too(bench: Bench) -> None:
    """Two calls of one trace to different paths are two pairs."""
    shared = {"id_source": "x-request-id"}
    for path in ("/a", "/b"):
        await bench.park(observed(PRIMARY, path=path, **shared), observed(CANDIDATE, path=path, **shared))
    assert 0 == (await bench.ledger())["pairs"]["ready"]
    await bench.sweep_until(lambda books: books["pairs"]["ready"] == 2)
    assert {"/a", "/b"} == {bench.codec.decode(claim.key, claim.primary).path for claim in await bench.claims()}


@pytest.mark.parametrize("order", list(itertools.permutations([PRIMARY, CANDIDATE, CONTROL])))
async def test_a_pair_marked_for_the_control_waits_for_it(bench: Bench, order: tuple[Side, ...]) -> None:
    """The control joins its pair in all six orders."""
    for side in order:
        await bench.park(
            observed(side, body=side.encode(), body_bytes=0), control_wait_s=600.0 if side is CANDIDATE else 0
        )
    (claim,) = await bench.claims()
    assert b"control" == bench.body(claim, CONTROL)
    ledger = await bench.ledger()
    assert [1, 1, 1] == [row["paired"] for row in ledger["observations"].values()]
    assert ledger["balanced"]


async def test_a_control_without_a_response_is_left_out(bench: Bench) -> None:
    """After the control's deadline the pair continues without it. A later response of the control is late."""
    await bench.park(observed(CANDIDATE), control_wait_s=0.05)
    await bench.park(observed(PRIMARY))
    await bench.sweep_until(lambda books: books["pairs"]["ready"] == 1)
    await bench.park(observed(CONTROL))
    ledger = await bench.ledger()
    assert (0, 1) == (ledger["observations"]["control"]["paired"], ledger["observations"]["control"]["late"])
    assert ledger["balanced"]


@pytest.mark.parametrize("side", [PRIMARY, CANDIDATE, CONTROL])
async def test_an_observation_without_a_partner_becomes_an_orphan(brief: Bench, side: Side) -> None:
    """At the end of its window it is counted, kept as an example, and replaced by a tombstone."""
    await brief.park(observed(side))
    ledger = await brief.sweep_until(lambda books: books["observations"][side]["orphaned"] == 1)
    assert ledger["balanced"]
    assert ["/products/1"] == [orphan.observation.path for orphan in brief.orphans]


async def test_an_observation_deleted_from_redis_unbalances_the_ledger(bench: Bench) -> None:
    """Waiting observations are counted in the store, so a missing value shows immediately and permanently."""
    await bench.park(observed(PRIMARY))
    assert (await bench.ledger())["balanced"]
    (key,) = await _keys(bench.store, b"*}:o:*")
    await bench.store.command("DEL", key)
    assert not (await bench.ledger())["balanced"]


async def test_a_ready_pair_deleted_from_redis_unbalances_the_ledger(bench: Bench) -> None:
    """The pending count is the length of the stream."""
    await bench.park(observed(PRIMARY), observed(CANDIDATE))
    (claim,) = await bench.claims()
    await bench.store.command("XDEL", bench.store.keys.name(claim.shard, f"ready:{TARGET}"), claim.entry)
    assert not (await bench.ledger())["balanced"]


async def test_pairs_of_a_dead_worker_are_claimed_with_their_delivery_count(bench: Bench) -> None:
    """After a worker dies, another consumer gets the same pair and its delivery count."""
    await bench.park(observed(PRIMARY), observed(CANDIDATE))
    (first,) = await bench.claims("dead")
    (second,) = await bench.claimer("two", first.shard).reclaim(10, 0.0)
    (third,) = await bench.claimer("three", first.shard).reclaim(10, 0.0)
    assert (first.entry, 2, 3) == (third.entry, second.deliveries, third.deliveries)
    assert [True] == await bench.commit([third])
    assert [] == await bench.claimer("four", first.shard).reclaim(10, 0.0)


async def test_waiting_values_are_unreadable_without_the_key(bench: Bench) -> None:
    """No part of a body is plain text in Redis."""
    body = b"card of Ada Lovelace"  # a part of a number could also be part of a time
    await bench.park(observed(PRIMARY, body=body, body_bytes=len(body)))
    (key,) = await _keys(bench.store, b"*}:o:*")
    stored = await bench.store.command("GET", key)
    assert not [at for at in range(len(body) - 3) if body[at : at + 4] in stored]


async def test_a_store_with_another_shard_count_is_rejected(store: Store) -> None:
    """The number of shards never changes for a store, and the message names the fix."""
    other = Store(store.client, shards=store.shards + 1)
    with pytest.raises(StoreMismatchError, match=f"set store.shards: {store.shards}"):
        await other.check()


async def test_reading_the_ledger_changes_no_number(bench: Bench) -> None:
    """Two reads in a row are equal, and so is the whole database."""
    await bench.park(observed(PRIMARY), observed(CANDIDATE), observed(PRIMARY, "b"))
    before = await _dump(bench.store)
    assert await bench.ledger() == await bench.ledger()
    assert before == await _dump(bench.store)


async def _keys(store: Store, pattern: bytes) -> list[bytes]:
    return [key for keys in await on_every_server(store, "KEYS", pattern) for key in keys]


async def _dump(store: Store) -> dict[bytes, bytes]:
    return {key: await store.command("DUMP", key) for key in await _keys(store, b"*")}


async def test_a_full_buffer_rejects_observations_until_it_has_room(store: Store) -> None:
    """The sweep measures the store, so the limit opens again by itself."""
    settings = PairingSettings(window_s=0.05, settle_s=0.01, gather_s=0.001, store_depth=2)
    async for bench in running(Bench(store, settings)):
        await bench.park(observed(PRIMARY, "a"), observed(CANDIDATE, "b"))
        for shard in range(store.shards):
            await bench.sweeper.sweep(shard)
        bench.parker.store_depth = bench.depths[-1]
        if bench.parker.store_depth >= settings.store_depth:  # unless the window has ended meanwhile
            assert not bench.parker.offer(observed(PRIMARY, "c"), bench.settled.append)
        await bench.sweep_until(lambda books: books["observations"]["primary"]["orphaned"] == 1)
        await bench.sweep_until(lambda _, depths=bench.depths: depths[-1] == 0)
        bench.parker.store_depth = bench.depths[-1]
        await bench.park(observed(PRIMARY, "c"))


async def test_a_flush_that_is_sent_twice_parks_once(bench: Bench) -> None:
    """The store keeps the last flush number of each sender, and rejects it the second time."""
    await bench.park(observed(PRIMARY))
    flush = Flush(
        0, 99, [QueuedObservation(b"k" * 16, TARGET, head_of(observed(PRIMARY), 0.0), b"payload", bench.settled.append)]
    )
    for _ in range(2):
        await bench.parker.send(flush)
    ledger = await bench.ledger()
    assert 2 == ledger["observations"]["primary"]["parked"]
    assert ledger["balanced"]


async def test_no_observation_is_accepted_after_the_last_flush(bench: Bench) -> None:
    """Queued observations are parked. New observations are rejected immediately."""
    assert bench.parker.offer(observed(PRIMARY, "a"), bench.settled.append)
    assert 0 == await bench.parker.drain(10)
    assert [True] == bench.settled
    assert not bench.parker.offer(observed(PRIMARY, "b"), bench.settled.append)
    assert ([True], 1) == (bench.settled, (await bench.ledger())["observations"]["primary"]["parked"])


async def test_a_full_store_rejects_a_flush_whole_and_accepts_it_with_room(bench: Bench) -> None:
    """A rejected flush counts nothing. Sweeping and committing continue and free memory."""
    await bench.park(observed(PRIMARY), observed(CANDIDATE))
    claims = await bench.claims()
    await on_every_server(bench.store, "CONFIG", "SET", "maxmemory", "1")
    try:
        assert bench.parker.offer(observed(PRIMARY, "b"), bench.settled.append)
        assert [True] == await bench.commit(claims)
        ledger = await bench.ledger()
        assert (1, 1) == (ledger["observations"]["primary"]["parked"], ledger["pairs"]["match"])
    finally:
        await on_every_server(bench.store, "CONFIG", "SET", "maxmemory", "0")
    await until(lambda: len(bench.settled) == 3)
    assert 2 == (await bench.ledger())["observations"]["primary"]["parked"]


async def test_a_process_that_starts_while_the_store_is_full_claims_and_commits(bench: Bench) -> None:
    """The process creates the missing consumer group, because otherwise the store would stay full."""
    await bench.park(observed(PRIMARY), observed(CANDIDATE))
    await on_every_server(bench.store, "CONFIG", "SET", "maxmemory", "1")
    try:
        assert [True] == await bench.commit(await bench.claims())
        assert [] == await bench.claims("another")
    finally:
        await on_every_server(bench.store, "CONFIG", "SET", "maxmemory", "0")
    assert 1 == (await bench.ledger())["pairs"]["match"]


async def test_unrecorded_responses_lower_the_coverage(brief: Bench) -> None:
    """A candidate without a primary is a request to v1 that no count covers."""
    await brief.park(observed(PRIMARY), observed(CANDIDATE), observed(CANDIDATE, "b"))
    await brief.commit(await brief.claims())
    ledger = await brief.sweep_until(lambda books: books["observations"]["candidate"]["orphaned"] == 1)
    assert {"eligible": 2, "compared": 1, "ratio": 0.5} == ledger["coverage"]
