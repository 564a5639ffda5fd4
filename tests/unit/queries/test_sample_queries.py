"""Samples are found by path as any view prints it, and unknown routes and paths are explained."""

from __future__ import annotations

import pytest

from shadowdiff.display.wording import short_path
from shadowdiff.model import Result
from shadowdiff.queries.samples import explain_no_samples, path_filter, path_parts
from shadowdiff.verdict.counts import PathCount, RouteCounts

STORED = [
    "$['price']['amount']",
    "$['items'][*]['price']",
    "$['items'][3]['price']",
    "$['a.b']['c d'][0]",
    "$['users'][{uuid}]['at']",
    "$[user:{id}]",
    "header.etag",
    "text[took {number}ms]",
    "text[3]",
]
ROUTES = [
    RouteCounts(
        route="GET /",
        results={Result.MISMATCH: 3},
        paths=(PathCount(path="$['price']['amount']", kind="value", count=3),),
    ),
    RouteCounts(route="GET /b", results={Result.MATCH: 3}),
]


@pytest.mark.parametrize("stored", STORED)
def test_a_path_is_found_as_it_is_stored_and_as_it_is_printed(stored: str) -> None:
    """Users can paste a path from any view."""
    assert path_filter(stored)(stored)
    assert path_filter(short_path(stored))(stored)


@pytest.mark.parametrize(
    "asked",
    ["price.amount", "$.price.amount", "$['price']['amount']", '$["price"].amount', "price", "$.price", "$", " price "],
)
def test_every_way_to_write_a_path_and_its_beginnings_find_it(asked: str) -> None:
    """A path may use dots, brackets, and `$`. A prefix matches the paths below it."""
    assert path_filter(asked)("$['price']['amount']")


@pytest.mark.parametrize("asked", ["pri", "price.amount.x", "amount", "price[0]", "$['price.amount']", "]["])
def test_another_path_does_not(asked: str) -> None:
    """A prefix consists of whole path segments."""
    assert not path_filter(asked)("$['price']['amount']")


@pytest.mark.parametrize("asked", ["users.{uuid}", "$.users.{uuid}.at", "users[{uuid}].at"])
def test_a_key_that_is_a_value_is_found_by_its_form(asked: str) -> None:
    """Pages write the form like a name."""
    assert path_filter(asked)("$['users'][{uuid}]['at']")


@pytest.mark.parametrize("stored", ["text[3]", "text[took {number}ms]", "text[*]", "text"])
def test_text_finds_every_line(stored: str) -> None:
    """A line is below the text."""
    assert path_filter("text")(stored)


def test_an_index_is_no_name() -> None:
    """`[0]` is an element, and `['0']` is a member."""
    assert path_parts("$['0']") != path_parts("$[0]")


def test_an_unknown_route_or_path_lists_the_known_ones() -> None:
    """An empty list alone would look as if nothing differed."""
    assert "unknown route 'GET /x'; known routes: GET /, GET /b" == explain_no_samples("GET /x", None, ROUTES)
    assert "unknown route 'GET /x'; no route has been compared yet" == explain_no_samples("GET /x", None, [])
    assert "nothing differs at 'cost'; differing paths: price.amount" == explain_no_samples(None, "cost", ROUTES)
    assert "nothing differs at 'price'; no path differs" == explain_no_samples("GET /b", "price", ROUTES)


def test_a_known_route_and_path_need_no_explanation() -> None:
    """A known route or path can be empty because its samples have expired."""
    assert "" == explain_no_samples("GET /", "price", ROUTES)
