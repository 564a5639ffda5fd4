"""Test what is learned about places: containers with open-ended keys, and the lines of a route."""

from __future__ import annotations

import pytest

from shadowdiff.rules.place_names import MAX_LINES, MIN_PAIRS, OFTEN, OpenContainer, PlaceNames

PEOPLE = [f"{first}{last}" for first in "abcdefghij" for last in "klmnopqrst"]


def price_of(name: str) -> str:
    """Return the place of a value under a key."""
    return f"$['users']['{name}']['price']"


def learned() -> PlaceNames:
    """Return names that have found one open container."""
    names = PlaceNames()
    for name in PEOPLE:
        names.renamed("GET /", [price_of(name), price_of("me")])
    return names


def test_keys_that_are_new_in_each_pair_make_a_container_open() -> None:
    """It is found once, and frequent keys stay names."""
    assert learned().found == [OpenContainer("$['users']", ("['me']",))]


def test_a_container_is_open_when_all_processes_use_it() -> None:
    """Until then, places have their keys."""
    names = learned()
    assert names.renamed("GET /", [price_of("zoe")]) == {}
    names.adopt(names.found, {})
    assert names.renamed("GET /", [price_of("zoe"), price_of("me")]) == {price_of("zoe"): "$['users'][{name}]['price']"}
    assert names.renamed("GET /", [], ["$['users'][{uuid}]"]) == {"$['users'][{uuid}]": "$['users'][{name}]"}
    assert names.current(price_of("ann")) == "$['users'][{name}]['price']"
    assert names.current("$['users'][*]['price']") == "$['users'][*]['price']"


@pytest.mark.parametrize("pairs", [1, MIN_PAIRS])
def test_a_response_of_another_kind_makes_no_container_open(pairs: int) -> None:
    """Many new keys in one pair count once."""
    names = PlaceNames()
    for _ in range(pairs):
        names.renamed("GET /", [f"$['{name}']" for name in PEOPLE])
    assert names.found == []


def test_an_object_with_many_frequent_members_is_not_open() -> None:
    """The members of a large object differ again and again."""
    names = PlaceNames()
    for at in range(400):
        for _ in range(OFTEN):
            names.renamed("GET /", [f"$['member_{at}']"])
    assert names.found == []


def test_a_route_has_a_limited_number_of_lines() -> None:
    """Further lines have the coarse place; lines that are known keep theirs."""
    names = PlaceNames()
    lines = [f"text[line {name}]" for name in PEOPLE]
    assert names.renamed("GET /", lines) == dict.fromkeys(lines[MAX_LINES:], "text[*]")
    assert len(names.lines) == MAX_LINES
    assert names.renamed("GET /", lines[:MAX_LINES], lines[:MAX_LINES]) == {}
    assert names.renamed("GET /other", lines[-1:]) == {}
    assert names.renamed("GET /", ["html.body.p"], ["html.body.p"]) == {"html.body.p": "text[*]"}


def test_a_covered_line_takes_no_place() -> None:
    """Lines under a rule never displace the lines that count."""
    names = PlaceNames()
    assert names.renamed("GET /", [], ["text[a]"]) == {"text[a]": "text[*]"}
    assert names.lines == []


def test_adopted_lines_replace_those_of_this_process() -> None:
    """A line that is not sent yet stays if there is room."""
    names = PlaceNames()
    names.renamed("GET /", ["text[mine]"])
    names.adopt([], {"GET /": ["text[theirs]"]})
    assert [one.place for one in names.lines_in_use()] == ["text[theirs]", "text[mine]"]
    names.adopt([], {"GET /": [f"text[{name}]" for name in PEOPLE]})
    assert len(names.lines_in_use()) == MAX_LINES
