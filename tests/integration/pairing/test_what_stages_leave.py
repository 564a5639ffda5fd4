"""What the stages' writes leave and readers find: one suite over the store in memory and the real one.

So the fake that unit tests stand on means what Redis and the commit script mean, on one shard and on several.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Protocol

import pytest

from shadowdiff.model import Expire, Incr, Push, Put, Side, Write
from shadowdiff.pairing import Judged, ParkSettings, commit
from shadowdiff.report import Redactor, SampleSettings, newest_samples, sample, sample_writes
from shadowdiff.store import Store, connect
from shadowdiff.verdict import count_writes, read_counts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, mismatch, pair
from tests.integration.pairing.conftest import Bench, observed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shadowdiff.model.reader import StoreReader
    from tests.conftest import RedisServer

AT_MS = 1_772_000_000_000


class Shelf(Protocol):
    """Something that takes writes, and can be read."""

    @property
    def reader(self) -> StoreReader:
        """What reads it."""
        ...

    async def put(self, *writes: Write) -> None:
        """Commit the writes of one pair."""
        ...


class MemoryShelf:
    """The fake."""

    def __init__(self) -> None:
        self.reader = MemoryStore()

    async def put(self, *writes: Write) -> None:
        """Commit the writes of one pair."""
        self.reader.commit(writes)


class RedisShelf:
    """The real thing: each call parks a pair, claims it and commits it with the writes."""

    def __init__(self, bench: Bench) -> None:
        self.reader = bench.store
        self._bench = bench
        self._ids = count()

    async def put(self, *writes: Write) -> None:
        """Commit the writes of one pair."""
        name = f"pair-{next(self._ids)}"
        await self._bench.park(observed(Side.PRIMARY, name), observed(Side.CANDIDATE, name))
        (claim,) = await self._bench.claims()
        assert [True] == await commit(self._bench.store, claim.shard, [Judged(claim, writes)])


@pytest.fixture(params=[0, 1, 4], ids=["memory", "one shard", "four shards"])
async def shelf(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Shelf]:
    """Run each test on the fake, and on Redis with one shard and several."""
    if request.param == 0:
        yield MemoryShelf()
        return
    store = Store(connect(redis_server.unix_url), shards=request.param)
    await store.command("FLUSHALL")
    await store.check()
    async for bench in running(Bench(store, ParkSettings(window_s=600.0, settle_s=0.01, gather_s=0.001))):
        yield RedisShelf(bench)
    await store.close()


async def test_counts_add_up_over_pairs(shelf: Shelf) -> None:
    """Whichever shard each fell to."""
    for _ in range(6):
        await shelf.put(Incr("counts:x", "a"), Incr("counts:x", "b", 2))
    assert {"a": 6, "b": 12} == await shelf.reader.counts("counts:x")


async def test_what_nobody_wrote_is_empty(shelf: Shelf) -> None:
    """Not an error."""
    assert ({}, [], None) == (
        await shelf.reader.counts("counts:none"),
        await shelf.reader.newest("samples:none", 10),
        await shelf.reader.value("samples:none"),
    )


async def test_the_same_write_twice_in_a_pair_counts_twice(shelf: Shelf) -> None:
    """Two increments are two."""
    await shelf.put(Incr("counts:x", "a"), Incr("counts:x", "a"))
    assert {"a": 2} == await shelf.reader.counts("counts:x")


async def test_fields_past_the_cap_add_to_the_overflow(shelf: Shelf) -> None:
    """In every shard at most so many fields, and no count is lost."""
    for number in range(16):
        await shelf.put(Incr("counts:x", f"f{number}", 1, 3), Incr("counts:x", "first", 1, 3))
    counts = await shelf.reader.counts("counts:x")
    assert (32, 16) == (sum(counts.values()), counts["first"] + counts.get("_other", 0) - _overflow(counts))
    assert len(counts) <= 4 * 4


def _overflow(counts: dict[str, int]) -> int:
    """Return how many of the numbered fields' counts stand under the overflow."""
    return 16 - sum(count for name, count in counts.items() if name.startswith("f") and name != "first")


async def test_lists_are_read_newest_first_over_all_shards(shelf: Shelf) -> None:
    """By the time that values begin with."""
    for number in range(12):
        await shelf.put(Push("samples:x", b"%013d rest" % number, 100))
    assert [b"%013d rest" % number for number in (11, 10, 9)] == await shelf.reader.newest("samples:x", 3)


async def test_lists_keep_their_newest(shelf: Shelf) -> None:
    """At most so many in a shard, and the newest always."""
    for number in range(12):
        await shelf.put(Push("samples:x", b"%013d" % number, 2))
    found = await shelf.reader.newest("samples:x", 100)
    assert b"%013d" % 11 == found[0]
    assert 2 <= len(found) <= 2 * 4


async def test_strings_are_found_in_whichever_shard(shelf: Shelf) -> None:
    """By their key alone."""
    for number in range(6):
        await shelf.put(Put(f"samples:{number}", b"%d" % number, 60))
    assert [b"%d" % number for number in range(6)] == [
        await shelf.reader.value(f"samples:{number}") for number in range(6)
    ]


async def test_binary_values_come_back_as_they_were(shelf: Shelf) -> None:
    """Compressed samples are no text."""
    value = bytes(range(256))
    await shelf.put(Push("samples:x", value, 1), Put("samples:y", value, 60))
    assert ([value], value) == (await shelf.reader.newest("samples:x", 1), await shelf.reader.value("samples:y"))


async def test_a_list_that_expires_does_so_from_its_first_value_on(shelf: Shelf) -> None:
    """A time to live that comes with the first value holds, in whatever order a script sees the two."""
    if isinstance(shelf, MemoryShelf):
        pytest.skip("the fake's clock is its test's")
    for number in range(8):
        await shelf.put(Push(f"samples:{number}", b"1", 5), Expire(f"samples:{number}", 60))
    store = shelf.reader
    assert isinstance(store, Store)
    left = [
        await store.command("TTL", store.keys.name(shard, f"samples:{number}"))
        for number in range(8)
        for shard in range(store.shards)
    ]
    assert 8 == sum(0 < ttl <= 60 for ttl in left)


async def test_pairs_are_counted_and_sampled_as_the_stages_mean_it(shelf: Shelf) -> None:
    """The stages' own writes, through the store, and back."""
    settings = SampleSettings(redactor=Redactor(b"a key"))
    for number, said in enumerate([MATCH, mismatch(), MATCH, mismatch()]):
        made = pair(number=number)
        await shelf.put(*count_writes(made, said), *sample_writes(made, said, settings, AT_MS + number))
    counts = await read_counts(shelf.reader, "shop")
    listed = await newest_samples(shelf.reader, "shop", 10)
    assert ({"match": 2, "ignored": 0, "mismatch": 2, "incomparable": 0}, 2) == (
        counts.results,
        counts.routes[0].paths[0].count,
    )
    assert [AT_MS + 3, AT_MS + 1] == [line.at_ms for line in listed]
    assert [True, True] == [await sample(shelf.reader, line.id) is not None for line in listed]
