"""Test samples in the store: bounded in number, bytes and age, with a few for every cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from shadowdiff.model import Comparison, Result
from shadowdiff.report import (
    FingerprintQuery,
    Fingerprints,
    Redactor,
    ReportStage,
    Retention,
    SampleSettings,
    State,
    TriageWriter,
    newest_samples,
    sample,
)
from shadowdiff.report.fingerprint import key_of
from shadowdiff.store import Store, connect
from tests.fakes.samples import sample_writes
from tests.fakes.traffic import difference, mismatch, pair
from tests.integration.report.conftest import MemoryBackend, StoreBackend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import RedisServer
    from tests.integration.report.conftest import Backend

AT_MS = 1_772_000_000_000
SETTINGS = SampleSettings(redactor=Redactor(b"a key"), keep=40, per_fingerprint=4, ttl_s=3600)


def _fault(number: int) -> Comparison:
    return mismatch(difference(f"$['f{number}']"))


async def _fill(
    backend: Backend, settings: SampleSettings, faults: Iterable[int], at_ms: int = AT_MS, first: int = 0
) -> None:
    stage = ReportStage(settings)
    await backend.put(*(stage(pair(number=first + n), _fault(fault), at_ms + n) for n, fault in enumerate(faults)))


def _shards(backend: Backend) -> int:
    return backend.reader.shards if isinstance(backend, StoreBackend) else 1


async def test_every_cause_keeps_a_few_samples(backend: Backend) -> None:
    """A hundred samples of one cause do not evict the two of another. Each cause keeps its complete example."""
    await _fill(backend, SETTINGS, [1, 2, 2, *[0] * 100])
    listed = await newest_samples(backend.reader, "shop", 1000)
    of_each = [sum(line.differences[0].path == f"$['f{fault}']" for line in listed) for fault in range(3)]
    assert ([1, 2], True) == (of_each[1:], 4 <= of_each[0] <= 4 * _shards(backend))
    for line in listed:
        found = await sample(backend.reader, line.id)
        assert (line.id, line.fingerprint) == (found and found.id, found and found.fingerprint)
    page = await Fingerprints(backend.reader, lambda: AT_MS).page("shop", FingerprintQuery())
    for one in page.fingerprints:
        held = await newest_samples(backend.reader, "shop", 1000, fingerprint=one.id)
        assert one.example in {line.id for line in held}
        assert {one.id} == {line.fingerprint for line in held}


async def test_the_most_frequent_cause_loses_samples_first(backend: Backend) -> None:
    """At the total limit, each cause still has one sample."""
    settings = msgspec.structs.replace(SETTINGS, keep=6, per_fingerprint=6)
    await _fill(backend, settings, [0] * 24 + [1] * 8 + [2] * 4 + [3] * 4)
    listed = await newest_samples(backend.reader, "shop", 1000)
    assert len(listed) <= 6 * _shards(backend)
    assert {f"$['f{fault}']" for fault in range(4)} == {line.differences[0].path for line in listed}


async def test_bytes_are_bounded_too(backend: Backend) -> None:
    """Only as many large samples stay as fit."""
    await _fill(backend, msgspec.structs.replace(SETTINGS, size_bytes=3000, per_fingerprint=40), range(20))
    listed = await newest_samples(backend.reader, "shop", 1000)
    assert 1 <= len(listed) <= 5 * _shards(backend)


async def test_later_samples_replace_earlier_ones(backend: Backend) -> None:
    """An hour later, a cause that recurs has new samples, and one that ended keeps its own."""
    await _fill(backend, SETTINGS, [0, 1] * 8)
    await _fill(backend, SETTINGS, [0] * 16 * _shards(backend), AT_MS + 1_000_000, first=100)
    listed = await newest_samples(backend.reader, "shop", 1000)
    ongoing, ended = ([line.at_ms for line in listed if line.differences[0].path == f"$['f{n}']"] for n in (0, 1))
    later = [at_ms for at_ms in ongoing if at_ms >= AT_MS + 1_000_000]
    assert (True, True) == (len(later) >= 4, len(ended) >= 4)
    assert _shards(backend) > 1 or later == ongoing  # a shard without later samples of a cause keeps earlier ones


async def test_old_samples_are_dropped_when_new_ones_arrive(backend: Backend) -> None:
    """Old samples are dropped even if there is room for their cause."""
    await _fill(backend, SETTINGS, range(4))
    await _fill(backend, SETTINGS, [9] * 4, AT_MS + 3_700_000, first=100)
    listed = await newest_samples(backend.reader, "shop", 1000)
    assert {"$['f9']"} == {line.differences[0].path for line in listed}


async def test_the_keys_alone_decide_which_samples_stay(backend: Backend) -> None:
    """The result does not depend on the order in which pairs arrive."""
    if _shards(backend) > 1:
        pytest.skip("here the test deals the pairs to the shards in turn, not by their keys")
    kept: list[set[str]] = []
    for order in (range(60), range(59, -1, -1)):
        for n in order:
            target = f"shop{len(kept)}"
            one = msgspec.structs.replace(pair(number=n), target=target)
            await backend.put(sample_writes(one, _fault(0), SETTINGS, AT_MS))
        listed = await newest_samples(backend.reader, f"shop{len(kept)}", 100)
        kept.append({line.id.rpartition("-")[2] for line in listed})
    assert (4, kept[0]) == (len(kept[1]), kept[1])


async def test_incomparable_pairs_keep_a_few_samples_per_reason(backend: Backend) -> None:
    """Incomparable pairs evict no differences, and a frequent reason evicts no other reason."""
    settings = msgspec.structs.replace(SETTINGS, incomparable=4)
    stage = ReportStage(settings)
    said = [Comparison(result=Result.INCOMPARABLE, reason=reason) for reason in ["rare", *["frequent"] * 20]]
    await backend.put(*(stage(pair(number=n), what, AT_MS + n) for n, what in enumerate(said)))
    listed = await newest_samples(backend.reader, "shop", 100, result=Result.INCOMPARABLE)
    assert ({"rare", "frequent"}, True) == ({line.reason for line in listed}, len(listed) <= 4 * _shards(backend))
    assert [] == await newest_samples(backend.reader, "shop", 100)


async def test_an_encrypted_sample_is_unreadable(redis_server: RedisServer) -> None:
    """A sample cannot be decrypted with another key or under another name."""
    store = Store(connect(redis_server.unix_url), key=b"k" * 32)
    await store.command("FLUSHALL")
    backend = StoreBackend(store)
    await _fill(backend, msgspec.structs.replace(SETTINGS, close=store.value_codec.encode), [0])
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


async def test_all_sample_keys_have_a_ttl(backend: Backend) -> None:
    """The keys expire with the last sample."""
    if isinstance(backend, MemoryBackend):
        pytest.skip("the fake's clock is its test's")
    assert isinstance(backend, StoreBackend)
    await _fill(backend, SETTINGS, range(4))
    keys: list[bytes] = await backend.reader.command("KEYS", "*samples*")
    assert 6 * _shards(backend) == len(keys)
    assert all([0 < await backend.reader.command("TTL", key) <= 3600 for key in keys])


async def test_old_fingerprints_expire_with_their_notes(backend: Backend) -> None:
    """Samples and fingerprints expire at their own ages. Recurring fingerprints stay."""
    if isinstance(backend, MemoryBackend):
        pytest.skip("only a store forgets by itself")
    assert isinstance(backend, StoreBackend)
    weeks_ms = 36 * 86_400_000
    await _fill(backend, SETTINGS, [0] * 4 + [1] * 4)
    prints = Fingerprints(backend.reader, lambda: AT_MS + weeks_ms)
    remarks = TriageWriter(backend.reader, lambda: AT_MS, str)
    for one in (await prints.page("shop", FingerprintQuery())).fingerprints:
        await remarks.set_state("shop", one.id, State.EXPECTED, "jo")
    await _fill(backend, SETTINGS, [1] * 4, AT_MS + weeks_ms, first=100)
    await Retention(backend.reader, lambda: ["shop"], lambda: AT_MS + weeks_ms + 1000, 3600).delete_expired()
    (left,) = (await prints.page("shop", FingerprintQuery())).fingerprints
    assert (["$['f1']"], State.EXPECTED) == ([place.path for place in left.places], left.state)
    states: dict[bytes, bytes] = await backend.reader.command(
        "HGETALL", backend.reader.keys.name(0, key_of("states", "shop"))
    )
    assert [left.id.encode()] == list(states)
    listed = await newest_samples(backend.reader, "shop", 100)
    assert {"$['f1']"} == {line.differences[0].path for line in listed}
