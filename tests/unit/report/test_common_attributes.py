"""Test what the pairs of a cause have in common, on samples that the tests make themselves."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from shadowdiff.report.attributes import MOST_PARAMETERS, Attribute, Source
from shadowdiff.report.common_attributes import (
    FEWEST_AFFECTED,
    Common,
    Entry,
    Group,
    SamplePart,
    common_attributes,
    count_tests,
    difference_bound,
    dotted,
    exceedance,
)

ROUTE = "GET /products/{id}"
GROUPS = {"hurt": Group(ROUTE, ("c1",)), "fine": Group(ROUTE)}


def body(name: str, value: str) -> Attribute:
    return Attribute(Source.BODY, name, value)


def entries(group: str, count: int, *attributes: Attribute, first: int = 0) -> list[Entry]:
    return [Entry(group, f"{first + at:012x}", attributes) for at in range(count)]


def common(*found: list[Entry], groups: dict[str, Group] = GROUPS, cuts: dict[str, str] | None = None) -> Common:
    part = SamplePart(groups, cuts or {}, [entry for some in found for entry in some])
    return common_attributes([part], ["c1"])


def texts(found: Common) -> list[str]:
    return [one.text for one in found.attributes]


def test_value_of_all_affected_pairs_is_found_with_its_counts() -> None:
    """All 40 affected pairs are in the garden, and 16 of 100 others."""
    garden, books = body("category", "garden"), body("category", "books")
    found = common(entries("hurt", 40, garden), entries("fine", 16, garden), entries("fine", 84, books, first=50))
    (one,) = found.attributes
    assert ("category = garden", 40, 40, 16, 100) == (
        one.text,
        one.affected_with,
        one.affected,
        one.others_with,
        one.others,
    )
    assert 0.5 < one.bound < 0.84


def test_equal_shares_show_nothing() -> None:
    """An attribute that others have as often is not in common."""
    garden, books = body("category", "garden"), body("category", "books")
    found = common(
        entries("hurt", 40, garden),
        entries("hurt", 10, books, first=90),
        entries("fine", 400, garden),
        entries("fine", 100, books, first=500),
    )
    assert Common(affected=50, others=500) == found


@pytest.mark.parametrize(("count", "shown"), [(FEWEST_AFFECTED - 1, 0), (FEWEST_AFFECTED, 1)])
def test_too_few_affected_pairs_show_nothing(count: int, shown: int) -> None:
    """A few pairs may be one request that a client repeats."""
    found = common(entries("hurt", count, body("a", "1")), entries("fine", 500, body("a", "2")))
    assert shown == len(found.attributes)


def test_path_is_preferred_to_values_that_say_the_same() -> None:
    """One product has one path, one id and one name; only the path is shown."""
    path = Attribute(Source.PATH, "path", "/products/13")
    alike = body("id", "13"), body("name", "Kitchen piece 13"), path
    assert ["/products/13"] == texts(common(entries("hurt", 9, *alike), entries("fine", 500, body("id", "7"))))


def test_more_specific_attribute_is_preferred() -> None:
    """All gardens have two shipping days, and so have other categories; only the category is shown."""
    garden, days = body("category", "garden"), body("shipping.days", "2")
    found = common(
        entries("hurt", 40, garden, days), entries("fine", 50, days), entries("fine", 450, body("shipping.days", "1"))
    )
    assert ["category = garden"] == texts(found)


def test_two_attributes_that_only_together_affect_a_pair_are_both_shown() -> None:
    """A pair is affected only in the garden and in German, so each attribute holds among the pairs with the other."""
    garden, german = body("category", "garden"), Attribute(Source.HEADER, "accept-language", "de")
    books, english = body("category", "books"), Attribute(Source.HEADER, "accept-language", "en")
    found = common(
        entries("hurt", 60, garden, german),
        entries("fine", 80, garden, english, first=100),
        entries("fine", 90, books, german, first=200),
        entries("fine", 300, books, english, first=300),
    )
    assert {"category = garden", "header accept-language = de"} == set(texts(found))


def test_absent_parameter_is_an_attribute() -> None:
    """Only requests without `page` are affected."""
    page = Attribute(Source.QUERY, "page", "2")
    found = common(entries("hurt", 30), entries("fine", 300, page))
    assert ["no query parameter page"] == texts(found)


def test_parameter_that_may_be_cut_off_is_not_absent() -> None:
    """An entry with the maximum number of parameters may have had others."""
    page = Attribute(Source.QUERY, "page", "2")
    many = [Attribute(Source.QUERY, f"a{number}", str(number)) for number in range(MOST_PARAMETERS)]
    others = [entries("fine", 50, page, *many[1:], first=100 * at) for at in range(3)]
    assert "no query parameter page" not in texts(common(entries("hurt", 30, *many), *others))


def test_values_below_the_place_of_the_cause_are_no_attributes() -> None:
    """If v2 lacks `discount`, it says nothing that v1 has a `discount`."""
    part = SamplePart(
        GROUPS,
        {},
        [
            *entries("hurt", 40, body("discount.kind", "summer"), body("discount", "yes")),
            *entries("fine", 400, body("discounts", "none")),
        ],
    )
    places = ["$['discount']", "status"]
    assert ["discount = yes"] == texts(common_attributes([part], ["c1"]))
    assert [] == texts(common_attributes([part], ["c1"], places))


def test_other_routes_are_not_compared() -> None:
    """Pairs of routes without the cause say nothing about it."""
    groups = GROUPS | {"elsewhere": Group("GET /")}
    found = common(entries("hurt", 40, body("a", "1")), entries("elsewhere", 400, body("a", "2")), groups=groups)
    assert (40, 0, ()) == (found.affected, found.others, found.attributes)


def test_route_is_an_attribute_if_there_are_several() -> None:
    """Nearly all affected pairs are on one of two routes."""
    groups = GROUPS | {"few": Group("GET /a", ("c1",)), "many": Group("GET /a")}
    found = common(entries("hurt", 90), entries("fine", 10), entries("few", 3), entries("many", 300), groups=groups)
    assert ["GET /products/{id}"] == texts(found)


def test_ranks_at_or_above_a_cut_are_left_out() -> None:
    """A group that lost pairs shows how deep the others may be read, so that the sample is uniform."""
    groups = GROUPS | {"also": Group(ROUTE, ("c1", "c2"))}
    found = common(
        entries("hurt", 20), entries("also", 20), entries("fine", 20), groups=groups, cuts={"also": f"{10:012x}"}
    )
    assert (20, 20) == (found.affected, found.others)


def test_parts_of_shards_and_periods_are_one_sample() -> None:
    """The lowest cut of all parts holds for all."""
    one = SamplePart(GROUPS, {"fine": f"{5:012x}"}, [*entries("hurt", 10), *entries("fine", 10)])
    other = SamplePart(GROUPS, {}, [*entries("hurt", 10, first=1), *entries("fine", 10, first=1)])
    found = common_attributes([one, other], ["c1"])
    assert (20, 9) == (found.affected, found.others)


def test_empty_samples_have_nothing_in_common() -> None:
    """No part, no group with the change, or an entry of an unknown group."""
    part = SamplePart({}, {}, entries("lost", 3))
    assert Common() == common_attributes([], ["c1"]) == common_attributes([part], ["c1"])


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("$['a']['b']", "a.b"),
        ("$['items'][*]['price']", "items[*].price"),
        ("$[*]['a']", "[*].a"),
        ("status", ""),
        ("$['items'][{uuid}]['price']", "items[{uuid}].price"),
    ],
)
def test_places_are_written_as_names(place: str, name: str) -> None:
    """The name of a value of a body is its path with dots."""
    assert name == dotted(place)


@pytest.mark.parametrize(
    ("a", "n", "size", "total"), [(2, 4, 3, 9), (3, 4, 3, 9), (1, 3, 5, 8), (0, 3, 5, 8), (4, 4, 4, 8)]
)
def test_exceedance_counts_the_draws(a: int, n: int, size: int, total: int) -> None:
    """The chance is the share of all draws in which enough pairs have the attribute."""
    draws = list(combinations(range(total), n))
    share = sum(sum(one < size for one in draw) >= a for draw in draws) / len(draws)
    assert math.isclose(share, exceedance(a, n, size, total), abs_tol=1e-12)


def test_bound_is_that_of_newcombes_paper() -> None:
    """Source: Newcombe (1998), table II, method 10: 56/70 - 48/80 has the 95 % interval 0.0524 to 0.3339."""
    assert 0.0524 == round(difference_bound(56, 70, 48, 80, 0.025), 4)


def test_attributes_that_cannot_be_significant_are_not_counted_as_tests() -> None:
    """Of 50 ids that one pair has, no one can show anything, so only the one frequent attribute is a test."""
    assert 1 == count_tests(10, 100, [1] * 50 + [10], 0.001)
    assert 7 == count_tests(10, 100, [10] * 7, 0.001)
