"""Test the API of fingerprints in process: pages, one fingerprint, its values, and permissions to change it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.shop import open_shop, web_parts

if TYPE_CHECKING:
    from starlette.applications import Starlette


@pytest.fixture(scope="module")
def shop() -> Starlette:
    """Return the API for a shop with planted faults."""
    return create_web(web_parts(open_shop()))


async def _page(shop: Starlette, query: str = "") -> Any:
    return (await get(shop, f"/api/v1/fingerprints?target=shop{query}")).json


async def test_mismatches_are_grouped_by_where_they_differ(shop: Starlette) -> None:
    """The planted faults come most frequent first, and their counts cover all mismatches."""
    page = await _page(shop, "&sort=count")
    assert [20, 9] == [one["count"] for one in page["fingerprints"][:2]]
    assert ["$['price']", "value"] == page["fingerprints"][0]["places"][0]
    assert (34, 20 / 1399) == (sum(one["count"] for one in page["fingerprints"]), page["fingerprints"][0]["share"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [("&path=price", 20), ("&path=PRI", 20), ("&kind=removed", 9), ("&severity=value", 20), ("&state=fixed", 0)],
)
async def test_pages_are_narrowed_as_samples_are(shop: Starlette, query: str, expected: int) -> None:
    """The filter is a path as any view writes it, or any part of its text."""
    page = await _page(shop, query)
    assert expected == sum(one["count"] for one in page["fingerprints"])


async def test_samples_name_their_fingerprint_and_are_found_by_it(shop: Starlette) -> None:
    """The page of a fingerprint shows its own samples."""
    (found,) = (await _page(shop, "&kind=removed"))["fingerprints"]
    listed = (await get(shop, f"/api/v1/samples?target=shop&fingerprint={found['id']}")).json["samples"]
    assert (9, {found["id"]}) == (len(listed), {line["fingerprint"] for line in listed})
    whole = (await get(shop, f"/api/v1/samples/{listed[0]['id']}")).json
    assert found["id"] == whole["fingerprint"]


async def test_one_fingerprint_returns_the_values_of_both_sides(shop: Starlette) -> None:
    """The values come from its samples, most frequent first."""
    (found,) = (await _page(shop, "&path=stock"))["fingerprints"]
    page = (await get(shop, f"/api/v1/fingerprints/{found['id']}")).json
    assert found["id"] == page["fingerprint"]["id"]
    (seen,) = page["places"]
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
    """The error has one line and a valid example."""
    assert (await _page(shop, query))["error"].startswith(says)


async def test_an_unknown_id_is_rejected(shop: Starlette) -> None:
    """The error explains what may have happened to the fingerprint."""
    answer = await get(shop, "/api/v1/fingerprints/ffffffffffff")
    assert (404, True) == (answer.status, "ffffffffffff" in answer.json["error"])


async def test_a_state_needs_an_author_and_a_place_to_be_kept(shop: Starlette) -> None:
    """An empty name, or a service without a store for states, is rejected."""
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
