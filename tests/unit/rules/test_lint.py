"""Rules that do nothing, or too much, are reported."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shadowdiff.rules import lint as lint_module
from shadowdiff.rules import lint_rules, parse_rules
from shadowdiff.rules.containment import contains
from shadowdiff.rules.jsonpath import parse_query

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def warned(*declared: object) -> list[tuple[int, str]]:
    """Return the rules with warnings, and the kind of each warning."""
    found = lint_rules(parse_rules(declared), compared_headers={"etag"}, now=NOW)
    return [(warning.index, warning.subject) for warning in found]


@pytest.mark.parametrize("path", ["$", "$.*", "$[*]", "$..*", "text"])
def test_ignoring_a_whole_body_is_reported(path: str) -> None:
    """The report covers every spelling of the root."""
    assert warned({"ignore": path}) == [(0, "hides-all")]


def test_a_mask_that_replaces_everything_is_reported() -> None:
    """A mask that replaces everything has the same effect as ignore."""
    assert warned({"mask": {"path": "$.a", "pattern": "(?s).*"}}) == [(0, "hides-all")]
    assert warned({"mask": {"path": "$.a", "pattern": "\\d+"}}) == []


@pytest.mark.parametrize("path", ["$[1:1]", "$.a[3:2].b", "$[::0]"])
def test_an_empty_slice_is_reported(path: str) -> None:
    """An empty slice selects nothing in any document."""
    assert warned({"ignore": path}) == [(0, "useless")]


@pytest.mark.parametrize("path", ["$[1:]", "$[-2:1]", "$[5:-1]", "$[:3]"])
def test_a_slice_that_may_select_is_not_reported(path: str) -> None:
    """Some slices select elements only in long enough arrays."""
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
def test_a_rule_for_methods_that_v2_never_receives_is_reported(more: dict[str, object], odd: list[int]) -> None:
    """The rule may name the methods itself or through its routes."""
    warnings = lint_rules(parse_rules([{"ignore": "$.a", **more}]), methods={"GET", "HEAD"})
    assert odd == [warning.index for warning in warnings]


def test_an_expired_rule_is_reported() -> None:
    """The warning has the day on which the rule expired."""
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
    """A rule is shadowed only if another rule covers everything that it selects."""
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
    """Every path of the inner query is at or below one of the outer query."""
    assert contains(parse_query(outer), parse_query(inner)) is expected


def calls(function: Callable[[], object]) -> int:
    """Return the number of calls of Python functions and builtins."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "declared",
    [
        [{"ignore": "$" + "..a" * 20 + ".b"}, {"ignore": "$" + "..a" * 40 + ".c"}],
        [{"ignore": "$" + "..a" * 400 + ".b"}, {"ignore": "$" + "..a" * 800 + ".c"}],
        [{"ignore": "$" + ".*" * 600}, {"ignore": "$" + "..*" * 600}],
        [{"ignore": "$" + "..*" * 600 + ".a"}, {"ignore": "$" + ".*" * 600}],
        [{"ignore": "$" + "..['a','b']" * 300 + ".b"}, {"ignore": "$" + "..[*,'a']" * 300 + ".c"}],
    ],
)
def test_checking_for_shadowed_rules_takes_linear_work(declared: list[object]) -> None:
    """A recursion over the segments of both paths would take exponential work."""
    rules = parse_rules(declared)
    segments = sum(rule.path.count("a") + rule.path.count("*") for rule in rules)
    assert calls(lambda: lint_rules(rules, now=NOW)) < 200 * segments + 5000


def test_checking_many_rules_takes_linear_work() -> None:
    """Rules whose paths do not overlap are never paired."""
    costs: list[int] = []
    for count in (200, 800):
        rules = parse_rules([{"ignore": f"$.a.b.c{number}"} for number in range(count)])
        costs.append(calls(lambda rules=rules: lint_rules(rules, now=NOW)))
    assert costs[1] < 6 * costs[0]


def test_pairs_of_rules_that_overlap_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings found before the limit stay valid."""
    declared = [{"ignore": "$.a", "routes": [f"/x{number}"]} for number in (0, 0, *range(1, 100), 99)]
    assert [(1, "shadowed"), (101, "shadowed")] == warned(*declared)
    monkeypatch.setattr(lint_module, "MAX_PAIRS", 500)
    assert [(1, "shadowed")] == warned(*declared)


def test_rules_that_are_too_large_to_compile_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rule is then reported as shadowed."""
    monkeypatch.setattr(lint_module, "MAX_POSITIONS", 3)
    assert [(0, "too-large")] == warned({"ignore": "$.a.b"}, {"ignore": "$.a.b"})
    assert [(1, "shadowed")] == warned({"ignore": "$.a"}, {"ignore": "$.a.b"})


def test_a_rename_is_shadowed_only_if_both_of_its_paths_are() -> None:
    """If only the old path is ignored, the rename still covers the new one."""
    rename = {"rename": {"from": "$.o.old", "to": "$.o.new"}}
    assert [] == warned({"ignore": "$.o.old"}, rename)
    assert [(1, "shadowed")] == warned({"ignore": "$.o"}, rename)
