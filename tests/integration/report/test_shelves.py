"""Samples in the store: bounded in number, bytes and age, with a few of every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from shadowdiff.model import Comparison, Result
from shadowdiff.report import (
    Fingerprints,
    FingerprintSettings,
    Keeping,
    Redactor,
    Remarks,
    ReportStage,
    SampleSettings,
    State,
    Wanted,
    newest_samples,
    sample,
    sample_writes,
)
from shadowdiff.report.remarks import states_key
from shadowdiff.store import Store, connect
from tests.fakes.traffic import difference, mismatch, pair
from tests.integration.report.conftest import MemoryShelf, StoreShelf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import RedisServer
    from tests.integration.report.conftest import Shelf

AT_MS = 1_772_000_000_000
SETTINGS = SampleSettings(redactor=Redactor(b"a key"), keep=40, per_fingerprint=4, ttl_s=3600)


def _fault(number: int) -> Comparison:
    return mismatch(difference(f"$['f{number}']"))


async def _fill(
    shelf: Shelf, settings: SampleSettings, faults: Iterable[int], at_ms: int = AT_MS, first: int = 0
) -> None:
    stage = ReportStage(FingerprintSettings(), settings)
    await shelf.put(*(stage(pair(number=first + n), _fault(fault), at_ms + n) for n, fault in enumerate(faults)))


def _shards(shelf: Shelf) -> int:
    return shelf.reader.shards if isinstance(shelf, StoreShelf) else 1


async def test_every_fault_keeps_a_few_however_frequent_another_is(shelf: Shelf) -> None:
    """A hundred of one do not push out the two of another; each can be read whole, and is its fingerprint's example."""
    await _fill(shelf, SETTINGS, [1, 2, 2, *[0] * 100])
    listed = await newest_samples(shelf.reader, "shop", 1000)
    of_each = [sum(line.differences[0].path == f"$['f{fault}']" for line in listed) for fault in range(3)]
    assert ([1, 2], True) == (of_each[1:], 4 <= of_each[0] <= 4 * _shards(shelf))
    for line in listed:
        found = await sample(shelf.reader, line.id)
        assert (line.id, line.fingerprint) == (found and found.id, found and found.fingerprint)
    page = await Fingerprints(shelf.reader, lambda: AT_MS).page("shop", Wanted())
    for one in page.fingerprints:
        held = await newest_samples(shelf.reader, "shop", 1000, fingerprint=one.id)
        assert one.example in {line.id for line in held}
        assert {one.id} == {line.fingerprint for line in held}


async def test_what_is_too_much_goes_from_the_fault_that_has_most(shelf: Shelf) -> None:
    """With the bound in all reached, each fault still has one."""
    settings = msgspec.structs.replace(SETTINGS, keep=6, per_fingerprint=6)
    await _fill(shelf, settings, [0] * 24 + [1] * 8 + [2] * 4 + [3] * 4)
    listed = await newest_samples(shelf.reader, "shop", 1000)
    assert len(listed) <= 6 * _shards(shelf)
    assert {f"$['f{fault}']" for fault in range(4)} == {line.differences[0].path for line in listed}


async def test_bytes_are_bounded_too(shelf: Shelf) -> None:
    """Of samples that are large only as many stay as there is room for."""
    await _fill(shelf, msgspec.structs.replace(SETTINGS, size_bytes=3000, per_fingerprint=40), range(20))
    listed = await newest_samples(shelf.reader, "shop", 1000)
    assert 1 <= len(listed) <= 5 * _shards(shelf)


async def test_later_samples_take_the_place_of_those_that_went_by(shelf: Shelf) -> None:
    """An hour later, a fault that goes on shows itself as it is now; one that ended keeps what it has."""
    await _fill(shelf, SETTINGS, [0, 1] * 8)
    await _fill(shelf, SETTINGS, [0] * 16 * _shards(shelf), AT_MS + 1_000_000, first=100)
    listed = await newest_samples(shelf.reader, "shop", 1000)
    ongoing, ended = ([line.at_ms for line in listed if line.differences[0].path == f"$['f{n}']"] for n in (0, 1))
    later = [at_ms for at_ms in ongoing if at_ms >= AT_MS + 1_000_000]
    assert (True, True) == (len(later) >= 4, len(ended) >= 4)
    assert _shards(shelf) > 1 or later == ongoing  # a shard that a fault's later samples missed keeps earlier ones


async def test_what_is_too_old_goes_when_more_comes(shelf: Shelf) -> None:
    """Though its fault has room."""
    await _fill(shelf, SETTINGS, range(4))
    await _fill(shelf, SETTINGS, [9] * 4, AT_MS + 3_700_000, first=100)
    listed = await newest_samples(shelf.reader, "shop", 1000)
    assert {"$['f9']"} == {line.differences[0].path for line in listed}


async def test_which_are_kept_follows_from_the_keys_alone(shelf: Shelf) -> None:
    """In whatever order the pairs come."""
    if _shards(shelf) > 1:
        pytest.skip("here the test deals the pairs to the shards in turn, not by their keys")
    kept: list[set[str]] = []
    for order in (range(60), range(59, -1, -1)):
        for n in order:
            target = f"shop{len(kept)}"
            one = msgspec.structs.replace(pair(number=n), target=target)
            await shelf.put(sample_writes(one, _fault(0), SETTINGS, AT_MS))
        listed = await newest_samples(shelf.reader, f"shop{len(kept)}", 100)
        kept.append({line.id.rpartition("-")[2] for line in listed})
    assert (4, kept[0]) == (len(kept[1]), kept[1])


async def test_incomparable_pairs_are_kept_apart_a_few_for_every_reason(shelf: Shelf) -> None:
    """They push out no difference, and one frequent reason no other."""
    settings = msgspec.structs.replace(SETTINGS, incomparable=4)
    stage = ReportStage(FingerprintSettings(), settings)
    said = [Comparison(result=Result.INCOMPARABLE, reason=reason) for reason in ["rare", *["frequent"] * 20]]
    await shelf.put(*(stage(pair(number=n), what, AT_MS + n) for n, what in enumerate(said)))
    listed = await newest_samples(shelf.reader, "shop", 100, result=Result.INCOMPARABLE)
    assert ({"rare", "frequent"}, True) == ({line.reason for line in listed}, len(listed) <= 4 * _shards(shelf))
    assert [] == await newest_samples(shelf.reader, "shop", 100)


async def test_with_a_key_nothing_of_a_sample_can_be_read(redis_server: RedisServer) -> None:
    """Nor opened under another key, nor moved under another name."""
    store = Store(connect(redis_server.unix_url), key=b"k" * 32)
    await store.command("FLUSHALL")
    shelf = StoreShelf(store)
    await _fill(shelf, msgspec.structs.replace(SETTINGS, close=store.vault.close), [0])
    (line,) = await newest_samples(store, "shop", 10)
    found = await sample(store, line.id)
    assert found is not None
    assert "Brass desk lamp" in found.primary.body.text
    for other in (Store(connect(redis_server.unix_url)), Store(connect(redis_server.unix_url), key=b"x" * 32)):
        assert (None, []) == (await sample(other, line.id), await newest_samples(other, "shop", 10))
        await other.close()
    keys: list[bytes] = await store.command("KEYS", "*samples*")
    raw = b"".join([await store.command("DUMP", key) for key in keys])
    assert (0, 0) == (raw.count(b"Brass"), raw.count(b"products/17"))
    await store.close()


async def test_a_shelf_dies_with_its_last_sample(shelf: Shelf) -> None:
    """Every key of it has a time to live."""
    if isinstance(shelf, MemoryShelf):
        pytest.skip("the fake's clock is its test's")
    assert isinstance(shelf, StoreShelf)
    await _fill(shelf, SETTINGS, range(4))
    keys: list[bytes] = await shelf.reader.command("KEYS", "*samples*")
    assert 6 * _shards(shelf) == len(keys)
    assert all([0 < await shelf.reader.command("TTL", key) <= 3600 for key in keys])


async def test_what_was_not_seen_for_weeks_is_forgotten_with_what_was_said_of_it(shelf: Shelf) -> None:
    """Samples by their age, fingerprints by theirs; what goes on stays."""
    if isinstance(shelf, MemoryShelf):
        pytest.skip("only a store forgets by itself")
    assert isinstance(shelf, StoreShelf)
    weeks_ms = 36 * 86_400_000
    await _fill(shelf, SETTINGS, [0] * 4 + [1] * 4)
    prints = Fingerprints(shelf.reader, lambda: AT_MS + weeks_ms)
    remarks = Remarks(shelf.reader, lambda: AT_MS, str)
    for one in (await prints.page("shop", Wanted())).fingerprints:
        await remarks.set_state("shop", one.id, State.EXPECTED, "jo")
    await _fill(shelf, SETTINGS, [1] * 4, AT_MS + weeks_ms, first=100)
    await Keeping(shelf.reader, lambda: ["shop"], lambda: AT_MS + weeks_ms + 1000, 3600).forget()
    (left,) = (await prints.page("shop", Wanted())).fingerprints
    assert (["$['f1']"], State.EXPECTED) == ([place.path for place in left.places], left.state)
    states: dict[bytes, bytes] = await shelf.reader.command("HGETALL", shelf.reader.keys.name(0, states_key("shop")))
    assert [left.id.encode()] == list(states)
    listed = await newest_samples(shelf.reader, "shop", 100)
    assert {"$['f1']"} == {line.differences[0].path for line in listed}
