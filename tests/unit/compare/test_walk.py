"""Test the walk through two values: the differences it notes, the values it skips, and when it needs a strict walk."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from shadowdiff.compare import Limits
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.type_proof import Parsed
from shadowdiff.compare.walk import DECIMALS, FLOATS, STRICT, Walker
from shadowdiff.rules import compile_rules, parse_rules
from shadowdiff.rules.json_values import Repeated

if TYPE_CHECKING:
    from shadowdiff.rules.json_values import Value

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Noted = list[tuple[str, str, "str | None", "str | None", "str | None"]]


def walk(one: Value, other: Value, *rules: object, tier: int = FLOATS) -> tuple[bool, Noted]:
    """Walk through copies. Return whether the rest is proven equal, and each difference: kind, path, values, rule."""
    findings = Findings(Limits())
    root = compile_rules(parse_rules(rules), NOW).for_route("GET /x", "GET").root
    is_proved = Walker(findings, tier).explain(Parsed(*copy.deepcopy((one, other)), tier), root)
    found = (*findings.counted, *findings.covered)
    return is_proved, [(str(each.kind), each.path, each.primary, each.candidate, each.rule) for each in found]


@pytest.mark.parametrize("tier", [FLOATS, DECIMALS, STRICT])
@pytest.mark.parametrize("value", [None, True, 1, "a", [], {}, [1, {"a": [2]}], {"a": {"b": [1]}}])
def test_a_value_does_not_differ_from_itself(value: Value, tier: int) -> None:
    """A value equals itself in any tier."""
    assert (True, []) == walk(value, copy.deepcopy(value), tier=tier)


@pytest.mark.parametrize("tier", [FLOATS, DECIMALS, STRICT])
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 2, [("value", "$", "1", "2", None)]),
        (1, "1", [("type", "$", "1", '"1"', None)]),
        ({"a": 1}, {"a": 2}, [("value", "$['a']", "1", "2", None)]),
        ({"a": 1}, {}, [("removed", "$['a']", "1", None, None)]),
        ({}, {"a": None}, [("added", "$['a']", None, "null", None)]),
        ({"a": []}, {"a": {}}, [("type", "$['a']", "[]", "{}", None)]),
        ([1, 2, 3], [1, 3], [("removed", "$[1]", "2", None, None)]),
        ([1, 3], [1, 2, 3], [("added", "$[1]", None, "2", None)]),
        ([1, 2], [2, 1], [("order", "$", "[1,2]", "[2,1]", None)]),
        ([{"id": 1, "n": 1}], [{"id": 1, "n": 2}], [("value", "$[0]['n']", "1", "2", None)]),
    ],
)
def test_each_difference_is_noted_at_its_place(one: Value, other: Value, expected: Noted, tier: int) -> None:
    """Every tier notes the same differences."""
    assert (True, expected) == walk(one, other, tier=tier)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 1}, {"a": 2, "b": True}),
        ({"a": 1, "b": 1}, {"a": 2, "b": 1.0}),
        ([{"a": 1, "b": 0}, 1], [{"a": 2, "b": False}, 1]),
        ({"a": [1, 2, 3], "b": {"c": 1}}, {"a": [1, 3], "b": {"c": 1.0}}),
    ],
)
def test_a_skipped_change_of_kind_asks_for_a_strict_walk(one: Value, other: Value) -> None:
    """`==` skips the change, and the proof fails. Both values are unchanged."""
    before = repr((one, other))
    root = compile_rules((), NOW).for_route("GET /x", "GET").root
    assert not Walker(Findings(Limits()), FLOATS).explain(Parsed(one, other, FLOATS), root)
    assert before == repr((one, other))
    _, noted = walk(one, other, tier=STRICT)
    assert "type" in {kind for kind, *_ in noted}


def test_decimals_are_proved_too() -> None:
    """An integer differs from a number with a fraction."""
    assert not walk({"a": 1, "b": 1}, {"a": 2, "b": Decimal("1.0")}, tier=DECIMALS)[0]
    assert walk({"a": 1, "b": Decimal("1.0")}, {"a": 2, "b": Decimal("1.00")}, tier=DECIMALS)[0]


@pytest.mark.parametrize(
    ("one", "other", "rule", "expected"),
    [
        ({"a": 1}, {"a": 2}, {"ignore": "$.a"}, [("value", "$['a']", "1", "2", "ignore $.a")]),
        ({"a": 1}, {}, {"ignore": "$.a"}, [("removed", "$['a']", "1", None, "ignore $.a")]),
        ({}, {"a": 1}, {"subset": "$"}, [("added", "$['a']", None, "1", "subset $")]),
        ({"a": 1}, {}, {"subset": "$"}, [("removed", "$['a']", "1", None, None)]),
        ([1, 2], [2, 1], {"unordered": "$"}, [("order", "$", "[1,2]", "[2,1]", "unordered $")]),
        ({"a": 1}, {"a": 2}, {"schema": "$"}, [("value", "$['a']", "1", "2", "schema $")]),
        ({"a": 1}, {"a": "x"}, {"schema": "$"}, [("type", "$['a']", "1", '"x"', None)]),
        (
            [{"id": 1, "n": 1}, {"id": 2, "n": 2}],
            [{"id": 2, "n": 2}, {"id": 1, "n": 3}],
            {"key": {"path": "$", "by": "id"}},
            [
                ("value", "$[0]['n']", "1", "3", None),
                ("order", "$", '[{"id":1,"n":1},{"id":2,"n":2}]', '[{"id":2,"n":2},{"id":1,"n":3}]', "key $"),
            ],
        ),
        (
            {"cost": 1},
            {"price": 2},
            {"rename": {"from": "$.cost", "to": "$.price"}},
            [
                ("value", "$['cost']", "1", "2", None),
                ("removed", "$['cost']", "1", None, "rename $.cost to $.price"),
                ("added", "$['price']", None, "2", "rename $.cost to $.price"),
            ],
        ),
    ],
)
def test_a_rule_covers_only_the_places_that_it_names(one: Value, other: Value, rule: object, expected: Noted) -> None:
    """Differences that no rule covers come first."""
    assert (True, expected) == walk(one, other, rule)


def test_the_values_of_a_repeated_member_are_compared_in_order() -> None:
    """If the number of values differs, the member differs as a whole."""
    one, other, fewer = Repeated([1, 2]), Repeated([1, 3]), Repeated([1])
    assert (True, [("value", "$['a'][1]", "2", "3", None)]) == walk({"a": one}, {"a": other}, tier=STRICT)
    _, noted = walk({"a": one}, {"a": fewer}, tier=STRICT)
    assert [("value", "$['a']")] == [found[:2] for found in noted]


def test_changed_elements_that_stay_in_place_are_compared_in_place() -> None:
    """Each changed object keeps its index, also if several differ."""
    one: list[Value] = [{"id": at, "n": at, "s": "x"} for at in range(20)]
    other: list[Value] = [{"id": at, "n": at + 100 * (at in {3, 9}), "s": "x"} for at in range(20)]
    assert ["$[3]['n']", "$[9]['n']"] == [path for _, path, *_ in walk(one, other)[1]]
