"""Test which pairs are sampled with their attributes: a uniform, bounded sample of each route and set of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shadowdiff.model import Comparison, Draw, Result
from shadowdiff.queries.common_attributes import common_of
from shadowdiff.report import CountedRun, Redactor, change_id
from shadowdiff.report.attribute_sample import AttributeSettings, AttributeStage, period_of, read_sample, sample_keys
from shadowdiff.report.common_attributes import Common
from shadowdiff.store import ValueCodec
from shadowdiff.verdict import Run
from shadowdiff.verdict.run import StartedBy
from tests.fakes.shop import replace_parts, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, difference, mismatch, observation, pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.report.common_attributes import Entry, SamplePart

AT_MS = 1_772_000_000_000
TTL_S = 3600
REDACTOR = Redactor(b"a key")
SETTINGS = AttributeSettings(redactor=REDACTOR, of_group=10, of_all=40, groups=8, ttl_s=TTL_S)


def stage(settings: AttributeSettings = SETTINGS, run: int | None = 1, **options: Any) -> AttributeStage:
    return AttributeStage(settings, lambda _: None if run is None else CountedRun(run), **options)


def commit(
    stages: Sequence[AttributeStage], comparisons: Sequence[Comparison], store: MemoryStore | None = None
) -> MemoryStore:
    """Give each pair to one of several processes, and return the store."""
    store = store or MemoryStore()
    for number, comparison in enumerate(comparisons):
        store.commit(stages[number % len(stages)](pair(number=number), comparison, AT_MS))
    return store


async def part_of(store: MemoryStore, run: int = 1, at_ms: int = AT_MS) -> SamplePart:
    """Return the sample of the current period."""
    return (await read_sample(store, "shop", run, at_ms, TTL_S))[0]


def _is_off(_target: str) -> bool:
    return False


def rank_of(number: int) -> str:
    return REDACTOR.digest(pair(number=number).key).hex()


def ranks(entries: Sequence[Entry]) -> list[str]:
    return sorted(entry.rank for entry in entries)


@pytest.mark.parametrize("processes", [1, 3])
async def test_lowest_ranks_are_kept_for_any_number_of_processes(processes: int) -> None:
    """Several processes keep the same sample as one, and its cut is the lowest rank that was left out."""
    store = commit([stage() for _ in range(processes)], [MATCH] * 100)
    part, expected = await part_of(store), sorted(map(rank_of, range(100)))
    assert expected[:10] == ranks(part.entries)
    (group,) = part.groups
    assert {group: expected[10]} == part.cuts
    assert ("GET /products/{id}", ()) == (part.groups[group].route, part.groups[group].changes)


async def test_most_pairs_are_not_offered() -> None:
    """A process that has offered the lowest ranks returns no write, and does not read the attributes of the pair."""
    made = stage()
    offered = [number for number in range(1000) if made(pair(number=number), MATCH, AT_MS)]
    assert len(offered) < 100
    assert set(sorted(range(1000), key=rank_of)[:11]) <= set(offered)


async def test_each_set_of_changes_is_a_group() -> None:
    """Rare differences keep their pairs, and a match has no change."""
    other = mismatch(difference("$['stock']"))
    part = await part_of(commit([stage()], [*([MATCH] * 50), mismatch(), other, mismatch()]))
    changes = sorted(part.groups[entry.group].changes for entry in part.entries if part.groups[entry.group].changes)
    price, stock = (change_id("GET /products/{id}", place, "value", 0) for place in ("$['price']", "$['stock']"))
    assert sorted([(price,), (price,), (stock,)]) == changes


async def test_largest_group_loses_pairs_beyond_the_total() -> None:
    """Rare groups keep all their pairs."""
    frequent = [mismatch(difference(f"$['a{number % 5}']")) for number in range(500)]
    part = await part_of(commit([stage()], [*([MATCH] * 3), *frequent]))
    assert SETTINGS.of_all == len(part.entries)
    matches = [entry for entry in part.entries if not part.groups[entry.group].changes]
    assert 3 == len(matches)
    for name in part.groups:
        kept = [entry.rank for entry in part.entries if entry.group == name]
        assert all(rank < part.cuts.get(name, "~") for rank in kept)


async def test_number_of_groups_is_limited() -> None:
    """Pairs of later groups are not sampled."""
    part = await part_of(commit([stage()], [mismatch(difference(f"$['a{number}']")) for number in range(20)]))
    assert (SETTINGS.groups, SETTINGS.groups) == (len(part.groups), len(part.entries))


@pytest.mark.parametrize(
    ("comparison", "options"),
    [
        (Comparison(result=Result.INCOMPARABLE, reason="primary_5xx"), dict[str, Any]()),
        (MATCH, {"is_on": _is_off}),
        (MATCH, {"run": None}),
        (MATCH, {"settings": msgspec.structs.replace(SETTINGS, of_group=0)}),
    ],
)
def test_other_pairs_are_not_sampled(comparison: Comparison, options: dict[str, Any]) -> None:
    """Incomparable pairs, pairs of no run, and pairs of a target without causes leave nothing."""
    assert () == stage(**options)(pair(), comparison, AT_MS)


async def test_runs_and_periods_have_samples_of_their_own() -> None:
    """A new run starts empty. Half of the maximum age later, a new period starts, and the one before is still read."""
    made, store, half_ms = stage(), MemoryStore(), TTL_S * 500
    for period in range(3):
        store.commit(made(pair(number=period), MATCH, AT_MS + period * half_ms))
    found = await read_sample(store, "shop", 1, AT_MS + 2 * half_ms, TTL_S)
    assert [[rank_of(2)], [rank_of(1)]] == [ranks(part.entries) for part in found]
    assert [] == (await part_of(store, run=2)).entries
    assert 2 == len(set(sample_keys("shop", 1, AT_MS, TTL_S)))


async def test_no_entry_is_older_than_a_sample() -> None:
    """The keys of a period expire half of the maximum age after its last pair."""
    clock = [0.0]
    store = MemoryStore(lambda: clock[0])
    store.commit(stage()(pair(), MATCH, AT_MS))
    end_ms = (period_of(AT_MS, TTL_S) + 1) * TTL_S * 500
    assert end_ms - AT_MS <= TTL_S * 500
    clock[0] = TTL_S / 2 - 1
    assert store.names()
    clock[0] = TTL_S / 2
    assert set() == store.names()


async def test_shards_share_the_limits() -> None:
    """Each of many shards keeps its part, and a few more, because pairs are not spread evenly."""
    settings = AttributeSettings(redactor=REDACTOR, of_group=500, shards=16)
    (write,) = stage(settings)(pair(), MATCH, AT_MS)
    assert isinstance(write, Draw)
    assert (48, 312, 43_200) == (write.of_group, write.of_all, write.ttl_s)


async def test_entries_are_encrypted() -> None:
    """With a key, neither names nor values can be read."""
    settings = msgspec.structs.replace(SETTINGS, close=ValueCodec(bytes(32)).encode)
    plain, sealed = (commit([stage(one)], [MATCH]).texts() for one in (SETTINGS, settings))
    assert any(b"/products/17" in text for text in plain)
    assert not any(b"/products/17" in text or b"lighting" in text for text in sealed)
    store = commit([stage(settings)], [MATCH])
    assert [] == (await part_of(store)).entries


async def test_no_secret_is_stored() -> None:
    """A secret of the request is hashed."""
    made = stage()
    one = pair()
    candidate = msgspec.structs.replace(one.candidate, path="/products/17?password=hunter22")
    store = MemoryStore()
    store.commit(made(msgspec.structs.replace(one, candidate=candidate), mismatch(), AT_MS))
    assert store.texts()
    assert not any(b"hunter22" in text for text in store.texts())


class _Runs:
    async def current(self, _target: str) -> Run:
        return Run(id=1, started_ms=0, by=StartedBy.START)


async def test_query_compares_the_pairs_of_a_cause_with_others() -> None:
    """The pairs that differ all have one query parameter. The answer is kept for ten seconds."""
    now_ms, made, store = [AT_MS], stage(AttributeSettings(redactor=REDACTOR)), MemoryStore()
    queries = replace_parts(web_parts(store), runs=_Runs(), now_ms=lambda: now_ms[0]).queries
    for number in range(100):
        one = pair(number=number, candidate=observation_of(f"/products/17?view={'full' if number < 20 else 'short'}"))
        store.commit(made(one, mismatch() if number < 20 else MATCH, AT_MS))
    changes = [change_id("GET /products/{id}", "$['price']", "value", 0)]
    found = await common_of(queries, "shop", changes, ["$['price']"])
    assert [("query view = full", 20, 20, 0, 80)] == [
        (one.text, one.affected_with, one.affected, one.others_with, one.others) for one in found.attributes
    ]
    store.commit(made(pair(number=200), mismatch(), AT_MS))
    assert found is await common_of(queries, "shop", changes, ["$['price']"])
    now_ms[0] += 10_000
    assert 21 == (await common_of(queries, "shop", changes)).affected
    assert Common() == await common_of(web_parts(store).queries, "shop", changes)


def observation_of(path: str) -> Any:
    return observation(pair().candidate.side, path=path)
