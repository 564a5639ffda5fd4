"""Test the writes of the stages and their readers, with one suite for the store in memory and the real one.

The suite shows that the fake of the unit tests behaves like Redis and the commit script, on one shard and on several.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Protocol

import pytest

from shadowdiff.model import Draw, Expire, Incr, Push, Put, Side, Write
from shadowdiff.model.store_reader import Members, Whole
from shadowdiff.pairing.claim import Judged, commit
from shadowdiff.pairing.observation_writer import PairingSettings
from shadowdiff.report import Redactor, SampleSettings, newest_samples, sample
from shadowdiff.store import Store, connect
from shadowdiff.verdict import count_writes, read_counts
from tests.fakes.samples import sample_writes
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, mismatch, pair
from tests.integration.pairing.conftest import Bench, observed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shadowdiff.model.store_reader import StoreReader
    from tests.conftest import RedisServer

AT_MS = 1_772_000_000_000


class Backend(Protocol):
    """A store that accepts writes and has a reader."""

    @property
    def reader(self) -> StoreReader:
        """Return the reader."""
        ...

    async def put(self, *writes: Write) -> None:
        """Commit the writes of one pair."""
        ...


class MemoryBackend:
    """The store in memory."""

    def __init__(self) -> None:
        self.reader = MemoryStore()

    async def put(self, *writes: Write) -> None:
        """Commit the writes of one pair."""
        self.reader.commit(writes)


class RedisBackend:
    """The real store: each call parks a pair, claims it and commits it with the writes."""

    def __init__(self, bench: Bench) -> None:
        self.reader: Store = bench.store
        self._bench = bench
        self._ids = count()

    async def put(self, *writes: Write) -> None:
        """Commit the writes of one pair."""
        name = f"pair-{next(self._ids)}"
        await self._bench.park(observed(Side.PRIMARY, name), observed(Side.CANDIDATE, name))
        (claim,) = await self._bench.claims()
        assert [True] == await commit(self._bench.store, claim.shard, [Judged(claim, writes)])


@pytest.fixture(params=[0, 1, 4], ids=["memory", "one shard", "four shards"])
async def backend(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Backend]:
    """Run each test on the store in memory, and on Redis with one shard and several."""
    if request.param == 0:
        yield MemoryBackend()
        return
    store = Store(connect(redis_server.unix_url), shards=request.param)
    await store.command("FLUSHALL")
    await store.check()
    async for bench in running(Bench(store, PairingSettings(window_s=600.0, settle_s=0.01, gather_s=0.001))):
        yield RedisBackend(bench)
    await store.close()


async def test_counts_add_up_over_pairs(backend: Backend) -> None:
    """The reader adds up the counts of all shards."""
    for _ in range(6):
        await backend.put(Incr("counts:x", "a"), Incr("counts:x", "b", 2))
    assert {"a": 6, "b": 12} == await backend.reader.counts("counts:x")


async def test_a_missing_key_is_empty(backend: Backend) -> None:
    """A missing key is not an error."""
    assert ({}, [], None) == (
        await backend.reader.counts("counts:none"),
        await backend.reader.newest("samples:none", 10),
        await backend.reader.value("samples:none"),
    )


async def test_the_same_write_twice_in_a_pair_counts_twice(backend: Backend) -> None:
    """Two equal increments in a pair both count."""
    await backend.put(Incr("counts:x", "a"), Incr("counts:x", "a"))
    assert {"a": 2} == await backend.reader.counts("counts:x")


async def test_fields_above_the_cap_add_to_the_overflow(backend: Backend) -> None:
    """Each shard has a limited number of fields, and no count is lost."""
    for number in range(16):
        await backend.put(Incr("counts:x", f"f{number}", 1, 3), Incr("counts:x", "first", 1, 3))
    counts = await backend.reader.counts("counts:x")
    assert (32, 16) == (sum(counts.values()), counts["first"] + counts.get("_other", 0) - _overflow(counts))
    assert len(counts) <= 4 * 4


def _overflow(counts: dict[str, int]) -> int:
    """Return how many counts of the numbered fields are in the overflow."""
    return 16 - sum(count for name, count in counts.items() if name.startswith("f") and name != "first")


async def test_lists_are_read_newest_first_over_all_shards(backend: Backend) -> None:
    """The order is that of the time at the start of each value."""
    for number in range(12):
        await backend.put(Push("samples:x", b"%013d rest" % number, 100))
    assert [b"%013d rest" % number for number in (11, 10, 9)] == await backend.reader.newest("samples:x", 3)


async def test_lists_keep_their_newest(backend: Backend) -> None:
    """Each shard has a limited number of values, always including the newest."""
    for number in range(12):
        await backend.put(Push("samples:x", b"%013d" % number, 2))
    found = await backend.reader.newest("samples:x", 100)
    assert b"%013d" % 11 == found[0]
    assert 2 <= len(found) <= 2 * 4


async def test_strings_are_found_in_any_shard(backend: Backend) -> None:
    """The reader finds a string by its key alone."""
    for number in range(6):
        await backend.put(Put(f"samples:{number}", b"%d" % number, 60))
    assert [b"%d" % number for number in range(6)] == [
        await backend.reader.value(f"samples:{number}") for number in range(6)
    ]


async def test_binary_values_are_unchanged(backend: Backend) -> None:
    """Compressed samples are not text."""
    value = bytes(range(256))
    await backend.put(Push("samples:x", value, 1), Put("samples:y", value, 60))
    assert ([value], value) == (await backend.reader.newest("samples:x", 1), await backend.reader.value("samples:y"))


async def test_a_list_has_its_ttl_from_its_first_value(backend: Backend) -> None:
    """The TTL of the first value applies in any order of the two operations."""
    if isinstance(backend, MemoryBackend):
        pytest.skip("the fake's clock is its test's")
    for number in range(8):
        await backend.put(Push(f"samples:{number}", b"1", 5), Expire(f"samples:{number}", 60))
    store = backend.reader
    assert isinstance(store, Store)
    left = [
        await store.command("TTL", store.keys.name(shard, f"samples:{number}"))
        for number in range(8)
        for shard in range(store.shards)
    ]
    assert 8 == sum(0 < ttl <= 60 for ttl in left)


async def test_writes_of_the_stages_are_read_back(backend: Backend) -> None:
    """Counts and samples are read from the store."""
    settings = SampleSettings(redactor=Redactor(b"a key"))
    for number, said in enumerate([MATCH, mismatch(), MATCH, mismatch()]):
        made = pair(number=number)
        await backend.put(*count_writes(made, said), *sample_writes(made, said, settings, AT_MS + number))
    counts = await read_counts(backend.reader, "shop")
    listed = await newest_samples(backend.reader, "shop", 10)
    assert ({"match": 2, "ignored": 0, "mismatch": 2, "incomparable": 0}, 2) == (
        counts.results,
        counts.routes[0].paths[0].count,
    )
    assert [AT_MS + 3, AT_MS + 1] == [line.at_ms for line in listed]
    assert [True, True] == [await sample(backend.reader, line.id) is not None for line in listed]


def _drawn(rank: int, group: str = "a", of_all: int = 8) -> Draw:
    """Return a write into a bottom sample with binary values."""
    return Draw(
        key="drawn",
        group=group * 12,
        about=group.encode(),
        rank=f"{rank:012x}",
        value=b"\x00\xff\n" + str(rank).encode(),
        of_group=4,
        of_all=of_all,
        groups=3,
        ttl_s=60,
    )


async def _drawn_ranks(reader: StoreReader) -> tuple[list[str], dict[str, set[int]]]:
    """Return the drawn groups with ranks of all shards, and each group's cuts."""
    members: list[str] = []
    cuts: dict[str, set[int]] = {}
    for found, cut, groups in await reader.read(
        [Members("drawn:members", 100), Whole("drawn:cuts"), Whole("drawn:groups")]
    ):
        for member in found:
            rank = int(member[12:24], 16)
            assert member[24:] == b"\x00\xff\n" + str(rank).encode()
            members.append(f"{groups[member[:12].decode()].decode()}{rank}")
        for group, rank in cut.items():
            cuts.setdefault(group[0], set()).add(int(rank, 16))
    return sorted(members), cuts


async def test_the_lowest_ranks_of_a_group_are_kept(backend: Backend) -> None:
    """The order of writes does not matter. A cut is the lowest rank that a shard left out."""
    for rank in (40, 9, 11, 30, 1, 12, 7, 20, 10, 8):
        await backend.put(_drawn(rank))
    members, cuts = await _drawn_ranks(backend.reader)
    lost = [rank for rank in (40, 9, 11, 30, 1, 12, 7, 20, 10, 8) if f"a{rank}" not in members]
    if cuts:
        assert min(lost) == min(cuts["a"])
    assert lost or not cuts
    whole = [rank for rank in (1, 7, 8, 9) if rank < min(cuts.get("a", {99}))]
    assert {f"a{rank}" for rank in whole} <= set(members)


async def test_the_largest_group_loses_its_highest_rank(backend: Backend) -> None:
    """A group with few values keeps them; a group beyond the number of groups has none."""
    if isinstance(backend, RedisBackend) and backend.reader.shards > 1:
        pytest.skip("each shard has the whole limit")
    for rank in range(1, 5):
        await backend.put(_drawn(rank, "a", 6), _drawn(rank, "b", 6))
    await backend.put(_drawn(9, "c", 6), _drawn(1, "d", 6))
    members, cuts = await _drawn_ranks(backend.reader)
    assert (6, "c9" in members, "d1" in members) == (len(members), True, False)
    for group in "ab":
        kept = {int(member[1:]) for member in members if member[0] == group}
        assert kept == {rank for rank in range(1, 5) if rank < min(cuts[group])}


async def test_a_drawn_sample_expires(redis_server: RedisServer) -> None:
    """Every key of the sample has a time to live."""
    store = Store(connect(redis_server.unix_url))
    await store.command("FLUSHALL")
    async for bench in running(Bench(store, PairingSettings(window_s=600.0, settle_s=0.01, gather_s=0.001))):
        backend = RedisBackend(bench)
        for rank in range(6):
            await backend.put(_drawn(rank))
        keys = [f"sd:{{0}}:drawn:{part}" for part in ("members", "sizes", "cuts", "groups")]
        assert all([0 < await store.command("TTL", key) <= 60 for key in keys])
    await store.close()
