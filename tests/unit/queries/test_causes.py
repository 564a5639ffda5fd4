"""The list of causes, its filters and totals, and one cause with its samples and triage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fakeredis
import pytest

from shadowdiff.model import Incr, Kind, Severity
from shadowdiff.model.relation import Relation
from shadowdiff.queries.cause_detail import CauseTriage, cause_detail, cause_samples
from shadowdiff.queries.causes import WITHOUT_RUNS, CauseOrder, CauseQuery, cause_page, new_since
from shadowdiff.queries.errors import RequestError
from shadowdiff.report import CauseWrites, CountedRun, Redactor, ReportStage, SampleSettings, Span, State, TriageWriter
from shadowdiff.store import Store
from shadowdiff.verdict import history_writes
from tests.fakes.shop import NOW_MS, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, difference, mismatch, pair

if TYPE_CHECKING:
    from shadowdiff.model import Comparison
    from shadowdiff.queries.targets import Queries

PRICE = difference("$['price']", relations=int(Relation.OFFSET), parameters=((int(Relation.OFFSET), "1"),))
STATUS = difference("status", kind=Kind.STATUS, severity=Severity.BREAKING)


def _store(*found: tuple[str, Comparison], start_ms: int = NOW_MS - 3_600_000) -> MemoryStore:
    """Return a store with these pairs by route, a second apart."""
    store = MemoryStore()
    report = ReportStage(SampleSettings(redactor=Redactor(b"a key")))
    causes = CauseWrites(
        lambda _: CountedRun(WITHOUT_RUNS, "r1"), lambda _: True, lambda _pair, _difference, _bit, text: text
    )
    for number, (route, comparison) in enumerate(found):
        one, at_ms = pair(number=number, route=route), start_ms + number * 1000
        for writes in (report(one, comparison, at_ms), causes(one, comparison, at_ms)):
            store.commit(writes)
        store.commit(history_writes(one, comparison, at_ms))
        store.commit([Incr(f"run:shop:{WITHOUT_RUNS}:{comparison.result}", route)])
    return store


def _queries(store: MemoryStore) -> Queries:
    return web_parts(store, targets=(shop_target("shop"),)).queries


async def test_a_list_says_how_much_its_causes_explain() -> None:
    """Two causes on three routes explain all mismatches."""
    routes = ("GET /a", "GET /b", "GET /c")
    found = [(route, mismatch(PRICE)) for route in routes] + [("GET /a", mismatch(PRICE, STATUS)), ("GET /a", MATCH)]
    page = await cause_page(_queries(_store(*found)), "shop", CauseQuery(span=Span.DAY))
    assert (4, 4, 4, 5, True, 2, 2) == (
        page.mismatches, page.explained, page.top_ten, page.compared, page.exact, page.total, page.stored,
    )  # fmt: skip
    price, status = page.causes
    assert ("offset", "1", 4, 3, 0.8, 3) == (
        price.relation, price.parameter, price.pairs, price.alone, price.share, len(price.routes),
    )  # fmt: skip
    assert (1, 0, Severity.BREAKING, State.OPEN, "r1", False) == (
        status.pairs, status.alone, status.severity, status.state, status.revision, status.new,
    )  # fmt: skip
    assert price.trend is not None
    assert 4 == sum(price.trend.counts)
    assert price.example is not None


@pytest.mark.parametrize(
    ("query", "places"),
    [
        (CauseQuery(order=CauseOrder.SEVERITY), ["status", "$['price']"]),
        (CauseQuery(kind="status"), ["status"]),
        (CauseQuery(route="GET /b"), ["$['price']"]),
        (CauseQuery(severity=Severity.VALUE), ["$['price']"]),
        (CauseQuery(relation="offset"), ["$['price']"]),
        (CauseQuery(state=State.FIXED), []),
        (CauseQuery(path=lambda one: "status" in one), ["status"]),
        (CauseQuery(only_new=True), []),
        (CauseQuery(limit=1, offset=1), ["status"]),
    ],
)
async def test_a_list_can_be_filtered(query: CauseQuery, places: list[str]) -> None:
    """The filters are those of fingerprints."""
    found = [("GET /a", mismatch(PRICE)), ("GET /b", mismatch(PRICE)), ("GET /c", mismatch(STATUS))]
    page = await cause_page(_queries(_store(*found)), "shop", query)
    assert places == [one.place for one in page.causes]


async def test_a_cause_has_the_samples_of_its_changes_only() -> None:
    """Samples are stored by place; two causes at one place have different samples."""
    other = difference("$['price']", relations=int(Relation.NUMBER_AS_STRING), candidate='"21.99"')
    queries = _queries(_store(*[("GET /a", mismatch(PRICE))] * 3, *[("GET /a", mismatch(other))] * 2))
    page = await cause_page(queries, "shop", CauseQuery())
    sizes = {one.relation: len(await cause_samples(queries, one.id, 10)) for one in page.causes}
    assert {"offset": 3, "number_as_string": 2} == sizes
    detail = await cause_detail(queries, page.causes[0].id)
    assert [("21.99", "19.99", 3)] == [(v.primary, v.candidate, v.samples) for v in detail.values[0].values]


async def test_pairs_since_a_cause_was_last_seen_are_counted() -> None:
    """A cause that v2 no longer has is quiet on its routes."""
    found = [("GET /a", mismatch(PRICE)), *[("GET /b", MATCH)] * 200, *[("GET /a", MATCH)] * 200]
    queries = _queries(_store(*found))
    (cause,) = (await cause_page(queries, "shop", CauseQuery())).causes
    assert 200 == (await cause_detail(queries, cause.id)).quiet_pairs


async def test_a_cause_keeps_its_triage_when_its_relation_changes() -> None:
    """One pair proves no offset; five pairs do, and the state and the old id stay."""
    store = Store(fakeredis.FakeAsyncRedis())
    writer = TriageWriter(store, lambda: NOW_MS, str)
    few = _queries(_store(("GET /a", mismatch(PRICE))))
    (before,) = (await cause_page(few, "shop", CauseQuery())).causes
    await CauseTriage(few, writer).set_state(before.id, State.EXPECTED, "ada")
    many = _store(*[("GET /a", mismatch(PRICE))] * 5)
    stated = await store.command("HGETALL", store.keys.name(0, "causes:states:shop"))
    many.put_fields("causes:states:shop", {name.decode(): value for name, value in stated.items()})
    queries = _queries(many)
    (after,) = (await cause_page(queries, "shop", CauseQuery())).causes
    assert (True, State.EXPECTED) == (before.id != after.id, after.state)
    assert after.id == (await cause_detail(queries, before.id)).cause.id
    await store.close()


async def test_an_unknown_cause_is_an_error() -> None:
    """The error has a reason."""
    with pytest.raises(RequestError, match="no cause with the id"):
        await cause_detail(_queries(_store()), "0" * 12)


@pytest.mark.parametrize(
    ("revision", "starts", "since_ms"),
    [
        ("b", [(1, "a"), (2, "b"), (3, "b")], 2),
        ("a", [(1, "a"), (2, "a")], None),
        (None, [(1, None), (2, None)], None),
        ("a", [(1, None), (2, "a")], 2),
        ("b", [], None),
    ],
)
def test_a_cause_is_new_only_after_another_revision(
    revision: str | None, starts: list[tuple[int, str | None]], since_ms: int | None
) -> None:
    """With the first revision everything would be new."""
    assert since_ms == new_since(revision, starts)
