"""Paths are asked for as they are printed, and what is not known is said."""

from __future__ import annotations

import pytest

from shadowdiff.model import Result
from shadowdiff.verdict.counts import PathCount, RouteCounts
from shadowdiff.web.sample_filter import nothing_found, on_path, path_parts
from shadowdiff.web.words import short_path

STORED = [
    "$['price']['amount']",
    "$['items'][*]['price']",
    "$['items'][3]['price']",
    "$['a.b']['c d'][0]",
    "header.etag",
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
    """What a view prints can be pasted."""
    assert on_path(stored, stored)
    assert on_path(short_path(stored), stored)


@pytest.mark.parametrize(
    "asked",
    ["price.amount", "$.price.amount", "$['price']['amount']", '$["price"].amount', "price", "$.price", "$", " price "],
)
def test_every_way_to_write_a_path_and_its_beginnings_find_it(asked: str) -> None:
    """Dots, brackets, with `$` or without; a prefix finds what lies below it."""
    assert on_path(asked, "$['price']['amount']")


@pytest.mark.parametrize("asked", ["pri", "price.amount.x", "amount", "price[0]", "$['price.amount']", "]["])
def test_another_path_does_not(asked: str) -> None:
    """A prefix is one of whole parts."""
    assert not on_path(asked, "$['price']['amount']")


def test_an_index_is_no_name() -> None:
    """`[0]` is an element, `['0']` a member."""
    assert path_parts("$['0']") != path_parts("$[0]")


def test_a_route_or_path_that_is_not_known_is_answered_with_what_there_is() -> None:
    """Silence would read as `nothing differs`."""
    assert "no route is called 'GET /x': there are GET /, GET /b" == nothing_found("GET /x", None, ROUTES)
    assert "no route is called 'GET /x': none was compared yet" == nothing_found("GET /x", None, [])
    assert "nothing differs at 'cost': v2 differs at price.amount" == nothing_found(None, "cost", ROUTES)
    assert "nothing differs at 'price': nothing differs at all" == nothing_found("GET /b", "price", ROUTES)


def test_of_what_is_known_nothing_is_said() -> None:
    """Its samples may have expired."""
    assert "" == nothing_found("GET /", "price", ROUTES)
