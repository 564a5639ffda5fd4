"""Declarations become rules, or an error with the fix."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shadowdiff.rules import Rule, RuleError, parse_rules
from shadowdiff.rules.kinds.mask import MaskOptions
from shadowdiff.rules.kinds.tolerance import Bounds


def test_every_kind_of_rule_is_parsed() -> None:
    """The declarations are those of the documentation."""
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
        Rule(kind="ignore", path="$.meta.generatedAt", reason="clock"),
        Rule(kind="unordered", path="$.tags"),
        Rule(kind="key", path="$.items", options=("sku",)),
        Rule(kind="tolerance", path="$.total", options=Bounds(abs=0.01), routes=("GET /orders/{id}",)),
        Rule(
            kind="mask",
            path="text",
            options=MaskOptions(r"from '[^']+': \d+", "*"),
            reason="pod and counter",
        ),
        Rule(kind="equivalent", path="$.a", options=("null", "missing", "case")),
        Rule(kind="rename", path="$.items[*].cost", to="$.items[*].price"),
        Rule(kind="subset", path="$"),
        Rule(kind="schema", path="$.debug", methods=("GET",)),
        Rule(kind="require", path="header.x-data-version", expires=datetime(2026, 12, 31, tzinfo=UTC)),
    )


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("ignore: $.a", "rules[0]: 'ignore: $.a' is not a mapping"),
        ({}, "found none"),
        ({"ignroe": "$.a"}, "rules[0].ignroe: unknown kind of rule; did you mean ignore?"),
        ({"reason": "why", "xyz": 1}, "schema, join, require; found none among reason, xyz"),
        ({"ignore": "$.a", "subset": "$"}, "found ignore and subset"),
        ({"ignore": "$.a", "reasons": "x"}, "rules[0].reasons: 'x': unknown key"),
        ({"ignore": 5}, "rules[0].ignore: 5: expected a path, or a mapping with path"),
        ({"ignore": "a.b"}, "rules[0].ignore.path: 'a.b': ignore applies to a path that begins with $"),
        ({"ignore": "$.a["}, "'$.a[' at position 4"),
        ({"ignore": "$[?@.a]"}, "filters are not supported"),
        ({"ignore": "header."}, "header.<name>"),
        ({"unordered": "status"}, "unordered applies to a path that begins with $, or text"),
        ({"tolerance": {"path": "$.a"}}, "at least one of abs, rel, digits, time is needed"),
        ({"tolerance": {"path": "$.a", "abs": -1}}, "rules[0].tolerance.abs: -1: expected a number of 0 or more"),
        ({"tolerance": {"path": "$.a", "digits": 0}}, "rules[0].tolerance.digits: 0"),
        ({"tolerance": {"path": "$.a", "time": "soon"}}, "expected a duration such as 500ms, 2s or 1m"),
        ({"key": {"path": "$.a"}}, "rules[0].key.by: null"),
        ({"join": "$.a"}, "rules[0].join.path: '$.a': expected a text in each event, such as $[*].data.delta"),
        ({"join": {"path": "$[*].a", "except": []}}, "rules[0].join.except: []: expected the members that may differ"),
        ({"join": {"path": "$[*].a", "except": ["$..x"]}}, "expected a path of names only, such as $.meta.id"),
        ({"key": {"path": "$.a", "by": ["$..x"]}}, "expected a path of names only, such as $.meta.id"),
        ({"mask": {"path": "$.a", "pattern": "("}}, "rules[0].mask.pattern: '(': not an RE2 pattern: missing )"),
        ({"mask": {"path": "$.a", "pattern": "(?=x)"}}, "not an RE2 pattern"),
        ({"mask": {"path": "$.a", "pattern": "x", "flags": 1}}, "rules[0].mask.flags: 1: unknown key"),
        ({"equivalent": {"path": "$.a", "as": ["nil"]}}, "one or more of null, missing, empty, zero, case, number"),
        ({"equivalent": {"path": "$.a", "as": ["null"]}}, "at least two of null, missing, empty"),
        ({"rename": {"from": "$.a[*]", "to": "$.b[*]"}}, "from and to must begin alike and end in different names"),
        ({"rename": {"from": "$.a", "to": "$.a"}}, "from and to must begin alike and end in different names"),
        ({"rename": {"from": "$..a", "to": "$.b"}}, "from and to must begin alike and end in different names"),
        ({"rename": {"from": "$", "to": "$..b"}}, "or from $ to $.data"),
        ({"rename": {"from": "$.a", "to": "camelCase"}}, "from must end in a wildcard, such as $..* for all members"),
        (
            {"rename": {"from": "$.*", "to": "camel"}},
            "rules[0].rename.to: 'camel': expected a path such as $.price, or one of camelCase, P",
        ),
        ({"ignore": "$.a", "routes": [1]}, "rules[0].routes: [1]: expected a list of words"),
        ({"ignore": "$.a", "expires": "soon"}, "rules[0].expires: 'soon': expected a date such as 2026-12-31"),
    ],
)
def test_an_error_names_the_rule_the_key_the_value_and_the_fix(declared: object, said: str) -> None:
    """The error has one line."""
    with pytest.raises(RuleError) as error:
        parse_rules([declared])
    assert said in str(error.value)


def test_the_index_of_a_wrong_rule_is_its_position_in_the_list() -> None:
    """Counted from 0."""
    with pytest.raises(RuleError, match=r"^rules\[1\]\.ignore"):
        parse_rules([{"ignore": "$.a"}, {"ignore": "b"}])


@pytest.mark.parametrize(
    ("written", "seconds"), [("500ms", 0.5), ("2s", 2.0), ("1.5m", 90.0), ("1h", 3600.0), (3, 3.0)]
)
def test_durations_have_a_unit(written: object, seconds: float) -> None:
    """A number without a unit is in seconds."""
    (rule,) = parse_rules([{"tolerance": {"path": "$.a", "time": written}}])
    assert rule.options == Bounds(time_s=seconds)
