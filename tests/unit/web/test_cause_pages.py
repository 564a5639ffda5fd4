"""Test the causes on the page of a target, and the page of a cause, in process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Incr, Kind, Severity
from shadowdiff.model.relation import Relation
from shadowdiff.queries.causes import WITHOUT_RUNS
from shadowdiff.report import CauseWrites, CountedRun, Redactor, ReportStage, SampleSettings
from shadowdiff.verdict import history_writes
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.shop import NOW_MS, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, mismatch, pair

if TYPE_CHECKING:
    from starlette.applications import Starlette

PRICE = difference("$['price']", relations=int(Relation.OFFSET), parameters=((int(Relation.OFFSET), "1"),))
STATUS = difference("status", kind=Kind.STATUS, severity=Severity.BREAKING)
HOSTILE = difference("$['<script>alert(1)</script>']")


@pytest.fixture(scope="module")
def shop() -> Starlette:
    """Return the pages of a shop with three causes on three routes."""
    store = MemoryStore()
    report = ReportStage(SampleSettings(redactor=Redactor(b"a key")))
    causes = CauseWrites(
        lambda _: CountedRun(WITHOUT_RUNS, "r1"), lambda _: True, lambda _pair, _difference, _bit, text: text
    )
    found = [(f"GET /{at % 3}", mismatch(PRICE)) for at in range(6)]
    found += [("GET /0", mismatch(PRICE, STATUS)), ("GET /1", mismatch(HOSTILE))]
    for number, (route, comparison) in enumerate(found):
        one, at_ms = pair(number=number, route=route), NOW_MS - 3_600_000 + number * 1000
        for writes in (report(one, comparison, at_ms), causes(one, comparison, at_ms)):
            store.commit(writes)
        store.commit(history_writes(one, comparison, at_ms))
        store.commit([Incr(f"run:shop:{WITHOUT_RUNS}:{comparison.result}", route)])
    return create_web(web_parts(store))


async def test_the_page_of_a_target_leads_with_causes(shop: Starlette) -> None:
    """One sentence says what the causes explain; each has its pairs, and the pairs that only it explains."""
    page = (await get(shop, "/targets/shop")).text
    assert "v2 differs in 8 of 8 pairs." in page
    assert "3 causes explain all of them." in page
    assert page.index('id="causes"') < page.index('id="trend"') < page.index('id="fingerprints"')
    listed = (await get(shop, "/api/v1/causes?target=shop")).json["causes"]
    assert [(1, 0), (1, 1), (7, 6)] == sorted((one["pairs"], one["alone"]) for one in listed)
    assert all(f'href="/causes/{one["id"]}"' in page for one in listed)
    assert "3 routes" in page
    assert "<script>alert(1)</script>" not in page


async def test_the_page_of_a_cause_has_its_values_routes_and_samples(shop: Starlette) -> None:
    """Its numbers are those of the API."""
    first = (await get(shop, "/api/v1/causes?target=shop")).json["causes"][0]
    page = await get(shop, f"/causes/{first['id']}")
    assert 200 == page.status
    assert all(f"GET /{at}" in page.text for at in range(3))
    assert "Explained by nothing else" in page.text
    assert 'href="/samples/' in page.text


async def test_an_unknown_cause_is_a_page_with_one_line(shop: Starlette) -> None:
    """The line says that it may have expired."""
    page = await get(shop, "/causes/ffffffffffff")
    assert (404, True) == (page.status, "it may have expired" in page.text)


async def test_a_target_without_causes_has_no_section() -> None:
    """Before the first mismatch, the page says that nothing was compared."""
    page = (await get(create_web(web_parts(MemoryStore())), "/targets/shop")).text
    assert 'id="causes"' not in page
    assert "Nothing has been compared yet." in page
