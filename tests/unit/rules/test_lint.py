"""Rules that do nothing, or too much, are named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shadowdiff.rules import lint_rules, parse_rules
from shadowdiff.rules.jsonpath import parse_query
from shadowdiff.rules.lint import contains

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def warned(*declared: object) -> list[tuple[int, str]]:
    """Return which rules are odd, and in what way."""
    found = lint_rules(parse_rules(declared), compared_headers={"etag"}, now=NOW)
    return [(warning.index, warning.subject) for warning in found]


@pytest.mark.parametrize("path", ["$", "$.*", "$[*]", "$..*", "text"])
def test_ignoring_a_whole_body_is_reported(path: str) -> None:
    """However it is spelled."""
    assert warned({"ignore": path}) == [(0, "hides-all")]


def test_a_mask_that_takes_everything_is_reported() -> None:
    """Such a mask is an ignore in disguise."""
    assert warned({"mask": {"path": "$.a", "pattern": "(?s).*"}}) == [(0, "hides-all")]
    assert warned({"mask": {"path": "$.a", "pattern": "\\d+"}}) == []


@pytest.mark.parametrize("path", ["$[1:1]", "$.a[3:2].b", "$[::0]"])
def test_an_empty_slice_is_reported(path: str) -> None:
    """It selects nothing in any document."""
    assert warned({"ignore": path}) == [(0, "useless")]


@pytest.mark.parametrize("path", ["$[1:]", "$[-2:1]", "$[5:-1]", "$[:3]"])
def test_a_slice_that_may_select_is_not_reported(path: str) -> None:
    """Its meaning depends on the length."""
    assert warned({"ignore": path}) == []


def test_a_header_that_is_not_compared_is_reported() -> None:
    """Ignoring it changes nothing; requiring it does."""
    assert warned({"ignore": "header.x-id"}, {"ignore": "header.etag"}, {"require": "header.x-id"}) == [(0, "useless")]


@pytest.mark.parametrize(
    ("more", "odd"),
    [
        ({"methods": ["POST"]}, [0]),
        ({"methods": ["POST", "GET"]}, []),
        ({"routes": ["POST /x", "PUT /y"]}, [0]),
        ({"routes": ["POST /x", "/y"]}, []),
        ({"routes": ["POST /x", "GET /y"]}, []),
        ({}, []),
    ],
)
def test_a_rule_for_methods_that_are_never_asked_is_reported(more: dict[str, object], odd: list[int]) -> None:
    """Whether it names them itself or by its routes."""
    warnings = lint_rules(parse_rules([{"ignore": "$.a", **more}]), methods={"GET", "HEAD"})
    assert odd == [warning.index for warning in warnings]


def test_an_expired_rule_is_reported() -> None:
    """With the day on which it ended."""
    warnings = lint_rules(parse_rules([{"ignore": "$.a", "expires": "2026-05-31"}]), now=NOW)
    assert [warning.message for warning in warnings] == [
        "rules[0] (ignore $.a) expired on 2026-05-31; remove it, or give it a later date"
    ]


@pytest.mark.parametrize(
    ("first", "second", "odd"),
    [
        ({"ignore": "$.a"}, {"ignore": "$.a.b"}, [1]),
        ({"ignore": "$.a.b"}, {"ignore": "$.a"}, [0]),
        ({"ignore": "$.a"}, {"ignore": "$.a"}, [1]),
        ({"ignore": "$..b"}, {"tolerance": {"path": "$.a.b", "abs": 1}}, [1]),
        ({"ignore": "$.a[*]"}, {"unordered": "$.a[0].x"}, [1]),
        ({"ignore": "$.a"}, {"ignore": "$.ab"}, []),
        ({"ignore": "$.a.b"}, {"ignore": "$..b"}, [0]),
        ({"ignore": "$.a", "routes": ["/x"]}, {"ignore": "$.a.b"}, []),
        ({"ignore": "$.a"}, {"ignore": "$.a.b", "routes": ["/x"]}, [1]),
        ({"ignore": "$.a", "expires": "2026-07-01"}, {"ignore": "$.a.b"}, []),
        ({"unordered": "$.a"}, {"unordered": "$.a"}, [1]),
        ({"tolerance": {"path": "$.a", "abs": 1}}, {"tolerance": {"path": "$.a", "rel": 1}}, []),
        ({"ignore": "$.v"}, {"require": "$.v"}, []),
        ({"ignore": "header.etag"}, {"mask": {"path": "header.etag", "pattern": "x"}}, [1]),
    ],
)
def test_a_shadowed_rule_is_reported(first: object, second: object, odd: list[int]) -> None:
    """Only where the other leaves it nothing to do."""
    assert warned(first, second) == [(index, "shadowed") for index in odd]


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("$.*", "$..x", True),
        ("$.a", "$..x", False),
        ("$..x", "$..x.y", True),
        ("$..a..b", "$.a.c.b", True),
        ("$..a..b", "$.b.a", False),
        ("$[0:]", "$[3]", True),
        ("$[0]", "$[1]", False),
        ("$['a','b']", "$.a", True),
        ("$.a", "$['a','b']", False),
        ("$", "$.a", True),
        ("$.a", "$", False),
    ],
)
def test_containment_of_queries(outer: str, inner: str, expected: bool) -> None:
    """Every place of the inner query lies at or below one of the outer."""
    assert contains(parse_query(outer), parse_query(inner)) is expected
