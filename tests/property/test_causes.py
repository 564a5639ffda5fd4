"""Causes do not depend on the order of pairs, and their numbers equal a count over all pairs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.model.relation import Relation
from shadowdiff.report.cause_tables import CauseTables, tables_of
from shadowdiff.report.cause_writes import MOST_CHANGES, CauseWrites, CountedRun, table_key
from shadowdiff.report.causes import causes_of
from shadowdiff.report.change import changes_of
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, mismatch, pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.model import Comparison, Difference

ROUTES = ("GET /a", "GET /b", "GET /c/{id}")
PLACES = ("$['price']", "$['item']['price']", "$['items'][*]['price']", "header.x-a", "text[Took {number}ms]")
MASKS = (
    Relation(0),
    Relation.OFFSET,
    Relation.SCALED | Relation.OFFSET,
    Relation.CASE,
    Relation.CONSTANT,
    Relation.GENERATED,
)


@st.composite
def _differences(draw: st.DrawFn) -> Difference:
    mask = draw(st.sampled_from(MASKS))
    texts = tuple((int(bit), draw(st.sampled_from("12"))) for bit in mask)
    return difference(draw(st.sampled_from(PLACES)), relations=int(mask), parameters=texts[:2])


Pairs = st.lists(st.tuples(st.sampled_from(ROUTES), st.lists(_differences(), min_size=1, max_size=4)), max_size=25)


def _commit(stores: Sequence[MemoryStore], pairs: Sequence[tuple[str, list[Difference]]]) -> None:
    stage = CauseWrites(lambda _: CountedRun(1), lambda _: True, lambda _pair, _difference, _bit, text: text)
    for number, (route, found) in enumerate(pairs):
        stores[number % len(stores)].commit(stage(pair(number=number, route=route), mismatch(*found), number * 100))


async def _tables(pairs: Sequence[tuple[str, list[Difference]]], shards: int = 1) -> CauseTables:
    stores = [MemoryStore() for _ in range(shards)]
    _commit(stores, pairs)

    async def total(part: str) -> Mapping[str, int]:
        counts: Counter[str] = Counter()
        for store in stores:
            counts.update(await store.counts(table_key("shop", 1, part)))
        return counts

    return tables_of(await total("sets"), await total("changes"), await total("alone"), await total("params"))


@given(Pairs, st.randoms(use_true_random=False), st.sampled_from((1, 3)))
async def test_the_order_and_the_shards_of_pairs_do_not_matter(
    pairs: list[tuple[str, list[Difference]]], random: object, shards: int
) -> None:
    """Processes commit pairs in any order."""
    other = [*pairs]
    random.shuffle(other)  # type: ignore[attr-defined]
    assert causes_of(await _tables(pairs)) == causes_of(await _tables(other, shards))


@given(Pairs)
async def test_pairs_and_pairs_alone_equal_a_count_over_all_pairs(pairs: list[tuple[str, list[Difference]]]) -> None:
    """Each change of each pair belongs to exactly one cause."""
    totals = causes_of(await _tables(pairs))
    ids = [_ids(route, mismatch(*found)) for route, found in pairs]
    every = [{*one.group.changes, *one.group.consequences} for one in totals.causes]
    assert sorted(id_ for some in every for id_ in some) == sorted(set[str]().union(*ids))
    for one, changes in zip(totals.causes, every, strict=True):
        assert (sum(bool(some & changes) for some in ids), True) == (one.pairs, one.is_exact)
        assert sum(some <= changes for some in ids) == one.alone
    assert (len(pairs), len(pairs)) == (totals.pairs, totals.explained)
    assert len({one.id for one in totals.causes}) == len(totals.causes)


def _ids(route: str, comparison: Comparison) -> set[str]:
    found = changes_of(pair(route=route), comparison)
    assert found is not None
    return {one.id for one in found.changes}


@given(Pairs)
async def test_the_relation_of_a_cause_holds_in_all_of_its_pairs(pairs: list[tuple[str, list[Difference]]]) -> None:
    """A sentence about a cause is true for each of its pairs; so is its parameter."""
    tables = await _tables(pairs)
    for one in causes_of(tables).causes:
        for id_ in one.group.changes:
            assert not one.group.relation & ~tables.changes[id_].mask
            if one.parameter is not None:
                assert one.parameter == tables.constant(id_, one.group.relation)


async def test_a_full_table_gives_lower_bounds() -> None:
    """Beyond the limits, pairs are `at least`, and never too many."""
    pairs = [("GET /a", [difference(f"$['f{n}']"), difference("$['price']")]) for n in range(MOST_CHANGES + 10)]
    totals = causes_of(await _tables([*pairs, *pairs[:3]]))
    price = next(one for one in totals.causes if one.places == ("$['price']",))
    assert (len(pairs) + 3, False, False) == (price.pairs, price.is_exact, totals.is_exact)
    assert totals.pairs == len(pairs) + 3
