"""Declarations become rules, or an error that says what would be right."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shadowdiff.rules import Rule, RuleError, RuleKind, Tolerance, parse_rules


def test_every_kind_of_rule_is_read() -> None:
    """As design and documentation spell them."""
    rules = parse_rules(
        [
            {"ignore": "$.meta.generatedAt", "reason": "clock"},
            {"unordered": "$.tags"},
            {"key": {"path": "$.items", "by": ["sku"]}},
            {"tolerance": {"path": "$.total", "abs": 0.01}, "routes": ["GET /orders/{id}"]},
            {"mask": {"path": "text", "pattern": r"from '[^']+': \d+"}, "reason": "pod and counter"},
            {"equivalent": {"path": "$.a", "as": [None, "missing", "case"]}},
            {"rename": {"from": "$.items[*].cost", "to": "$.items[*].price"}},
            {"subset": "$"},
            {"schema": "$.debug", "methods": ["get"]},
            {"require": "header.X-Data-Version", "expires": "2026-12-31"},
        ]
    )
    assert rules == (
        Rule(kind=RuleKind.IGNORE, path="$.meta.generatedAt", reason="clock"),
        Rule(kind=RuleKind.UNORDERED, path="$.tags"),
        Rule(kind=RuleKind.KEY, path="$.items", by=("sku",)),
        Rule(kind=RuleKind.TOLERANCE, path="$.total", tolerance=Tolerance(abs=0.01), routes=("GET /orders/{id}",)),
        Rule(
            kind=RuleKind.MASK,
            path="text",
            pattern=r"from '[^']+': \d+",
            replacement="*",
            reason="pod and counter",
        ),
        Rule(kind=RuleKind.EQUIVALENT, path="$.a", equivalences=("null", "missing", "case")),
        Rule(kind=RuleKind.RENAME, path="$.items[*].cost", to="$.items[*].price"),
        Rule(kind=RuleKind.SUBSET, path="$"),
        Rule(kind=RuleKind.SCHEMA, path="$.debug", methods=("GET",)),
        Rule(kind=RuleKind.REQUIRE, path="header.x-data-version", expires=datetime(2026, 12, 31, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("ignore: $.a", "rules[0]: 'ignore: $.a' is not a mapping"),
        ({}, "found none"),
        ({"ignroe": "$.a"}, "rules[0].ignroe: is no rule; did you mean ignore?"),
        ({"reason": "why", "xyz": 1}, "must be named; found none among reason, xyz"),
        ({"ignore": "$.a", "subset": "$"}, "found ignore and subset"),
        ({"ignore": "$.a", "reasons": "x"}, "rules[0].reasons: 'x': unknown key"),
        ({"ignore": 5}, "rules[0].ignore: 5: a path, or a mapping with path, was expected"),
        ({"ignore": "a.b"}, "rules[0].ignore.path: 'a.b': ignore applies to a path that begins with $"),
        ({"ignore": "$.a["}, "'$.a[' at position 4"),
        ({"ignore": "$[?@.a]"}, "filters are not supported"),
        ({"ignore": "header."}, "header.<name>"),
        ({"unordered": "status"}, "unordered applies to a path that begins with $, or text"),
        ({"tolerance": {"path": "$.a"}}, "at least one of abs, rel, digits, time is needed"),
        ({"tolerance": {"path": "$.a", "abs": -1}}, "rules[0].tolerance.abs: -1: a number of 0 or more"),
        ({"tolerance": {"path": "$.a", "digits": 0}}, "rules[0].tolerance.digits: 0"),
        ({"tolerance": {"path": "$.a", "time": "soon"}}, "a duration such as 500ms, 2s or 1m was expected"),
        ({"key": {"path": "$.a"}}, "rules[0].key.by: null"),
        ({"key": {"path": "$.a", "by": ["$..x"]}}, "only names, such as $.meta.id"),
        ({"mask": {"path": "$.a", "pattern": "("}}, "rules[0].mask.pattern: '(': not an expression of RE2: missing )"),
        ({"mask": {"path": "$.a", "pattern": "(?=x)"}}, "not an expression of RE2"),
        ({"mask": {"path": "$.a", "pattern": "x", "flags": 1}}, "rules[0].mask.flags: 1: unknown key"),
        ({"equivalent": {"path": "$.a", "as": ["nil"]}}, "one or more of null, missing, empty, case, number"),
        ({"equivalent": {"path": "$.a", "as": ["null"]}}, "at least two of null, missing, empty"),
        ({"rename": {"from": "$.a[*]", "to": "$.b[*]"}}, "from and to begin alike and end in names"),
        ({"rename": {"from": "$.a", "to": "$.a"}}, "from and to begin alike and end in names"),
        ({"ignore": "$.a", "routes": [1]}, "rules[0].routes: [1]: a list of words was expected"),
        ({"ignore": "$.a", "expires": "soon"}, "rules[0].expires: 'soon': a date such as 2026-12-31"),
    ],
)
def test_an_error_names_the_rule_the_key_the_value_and_the_way_out(declared: object, said: str) -> None:
    """One line that a person can act on."""
    with pytest.raises(RuleError) as error:
        parse_rules([declared])
    assert said in str(error.value)


def test_the_index_of_a_wrong_rule_is_its_place_in_the_list() -> None:
    """Counting from 0, as the list is written."""
    with pytest.raises(RuleError, match=r"^rules\[1\]\.ignore"):
        parse_rules([{"ignore": "$.a"}, {"ignore": "b"}])


@pytest.mark.parametrize(
    ("written", "seconds"), [("500ms", 0.5), ("2s", 2.0), ("1.5m", 90.0), ("1h", 3600.0), (3, 3.0)]
)
def test_durations_are_read_with_their_unit(written: object, seconds: float) -> None:
    """A bare number is seconds."""
    (rule,) = parse_rules([{"tolerance": {"path": "$.a", "time": written}}])
    assert rule.tolerance == Tolerance(time_s=seconds)
