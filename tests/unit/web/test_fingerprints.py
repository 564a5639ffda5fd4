"""The API of fingerprints in process: pages, one of them, its values, and who may say what of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.shop import open_shop, web_state

if TYPE_CHECKING:
    from starlette.applications import Starlette


@pytest.fixture(scope="module")
def shop() -> Starlette:
    """Return the API over a shop with planted faults."""
    return create_web(web_state(open_shop()))


async def _page(shop: Starlette, query: str = "") -> Any:
    return (await get(shop, f"/api/v1/fingerprints?target=shop{query}")).json


async def test_mismatches_are_grouped_by_where_they_differ(shop: Starlette) -> None:
    """The planted faults, the most frequent first, and their counts are all mismatches there are."""
    page = await _page(shop, "&sort=count")
    assert [20, 9] == [one["count"] for one in page["fingerprints"][:2]]
    assert ["$['price']", "value"] == page["fingerprints"][0]["places"][0]
    assert (34, 20 / 1399) == (sum(one["count"] for one in page["fingerprints"]), page["fingerprints"][0]["share"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [("&path=price", 20), ("&path=PRI", 20), ("&kind=removed", 9), ("&severity=value", 20), ("&state=fixed", 0)],
)
async def test_pages_are_narrowed_as_samples_are(shop: Starlette, query: str, expected: int) -> None:
    """A path as any view writes it, or any text in it."""
    page = await _page(shop, query)
    assert expected == sum(one["count"] for one in page["fingerprints"])


async def test_samples_name_their_fingerprint_and_are_found_by_it(shop: Starlette) -> None:
    """So that a page of one shows its own."""
    (found,) = (await _page(shop, "&kind=removed"))["fingerprints"]
    listed = (await get(shop, f"/api/v1/samples?target=shop&fingerprint={found['id']}")).json["samples"]
    assert (9, {found["id"]}) == (len(listed), {line["fingerprint"] for line in listed})
    whole = (await get(shop, f"/api/v1/samples/{listed[0]['id']}")).json
    assert found["id"] == whole["fingerprint"]


async def test_one_fingerprint_tells_what_each_side_said(shop: Starlette) -> None:
    """By its samples, the most frequent values first."""
    (found,) = (await _page(shop, "&path=stock"))["fingerprints"]
    told = (await get(shop, f"/api/v1/fingerprints/{found['id']}")).json
    assert found["id"] == told["fingerprint"]["id"]
    (seen,) = told["seen"]
    assert ["$['stock']", "removed"] == seen["place"]
    assert (9, {None}) == (sum(one["samples"] for one in seen["values"]), {one["candidate"] for one in seen["values"]})


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("&sort=name", "parameter 'sort' is 'name'"),
        ("&limit=201", "parameter 'limit' is '201'"),
        ("&since=yesterday", "parameter 'since' is 'yesterday'"),
    ],
)
async def test_an_argument_that_is_wrong_is_refused_by_name(shop: Starlette, query: str, says: str) -> None:
    """In one line, with what would be right."""
    assert (await _page(shop, query))["error"].startswith(says)


async def test_an_id_that_nobody_knows_is_refused(shop: Starlette) -> None:
    """With what may have become of it."""
    answer = await get(shop, "/api/v1/fingerprints/ffffffffffff")
    assert (404, True) == (answer.status, "ffffffffffff" in answer.json["error"])


async def test_a_state_needs_an_author_and_a_place_to_be_kept(shop: Starlette) -> None:
    """Neither an empty name nor a service without a store for it goes through."""
    (found,) = (await _page(shop, "&kind=removed"))["fingerprints"]
    for said, status in (({"state": "fixed", "author": " "}, 400), ({"state": "gone", "author": "jo"}, 400),
                         ({"state": "fixed", "author": "jo"}, 501)):  # fmt: skip
        answer = await get(
            shop,
            f"/api/v1/fingerprints/{found['id']}/state",
            "POST",
            json.dumps(said).encode(),
            "application/json",
            host="localhost",
        )
        assert (status, ["error"]) == (answer.status, list(answer.json))
