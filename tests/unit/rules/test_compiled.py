"""Rules of any number and length are compiled within limits. Above them, bodies are not compared."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Pair, Result, Side
from shadowdiff.rules import RuleError, compile_rules, parse_rules
from shadowdiff.rules import compiled as module
from shadowdiff.rules.kinds.kind import MAX_PATH_CHARS
from tests.fakes.traffic import observation

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def pair(one: object, other: object) -> Pair:
    """Return a pair of two JSON bodies."""
    primary, candidate = (
        observation(side, json.dumps(value).encode()) for side, value in ((Side.PRIMARY, one), (Side.CANDIDATE, other))
    )
    return Pair(key=b"k", target="shop", route="GET /x", primary=primary, candidate=candidate)


def test_a_path_that_is_too_long_is_rejected() -> None:
    """The message has its length, not the path."""
    with pytest.raises(
        RuleError, match=r"^rules\[0\]\.ignore\.path: the path has 4,097 characters; at most 4,096 are allowed"
    ):
        parse_rules([{"ignore": "$." + "a" * (MAX_PATH_CHARS - 1)}])


def test_rules_that_are_too_large_make_bodies_too_complex(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is never wrong, and equal bodies still match."""
    monkeypatch.setattr(module, "MAX_POSITIONS", 3)
    declared = [{"ignore": "$.at"}, {"ignore": "$.a.b.c"}]
    rules = compile_rules(parse_rules(declared), NOW)
    found = compare(pair({"at": 1}, {"at": 2}), rules, Limits())
    assert (Result.INCOMPARABLE, "too_complex") == (found.result, found.reason)
    assert Result.MATCH is compare(pair({"at": 1}, {"at": 1}), rules, Limits()).result
    fewer = compile_rules(parse_rules(declared[:1]), NOW)
    assert Result.IGNORED is compare(pair({"at": 1}, {"at": 2}), fewer, Limits()).result


def test_a_comparison_over_budget_does_not_affect_the_next() -> None:
    """Each comparison has its own budget."""
    rules = compile_rules(parse_rules([{"ignore": "$..at"}, {"mask": {"path": "$..m", "pattern": "x"}}]), NOW)
    one, other = ({"a": {"b": {"at": side, "m": f"x{side}"}}} for side in (1, 2))
    small = compare(pair(one, other), rules, Limits(work=1))
    assert "too_complex" == small.reason
    whole = compare(pair(one, other), rules, Limits())
    assert (Result.MISMATCH, 2) == (whole.result, len(whole.differences))
    assert whole == compare(pair(one, other), compile_rules(rules.rules, NOW), Limits())


def test_the_work_of_a_require_rule_is_bounded() -> None:
    """Each `..` multiplies the selected nodes: ten of them over 200 nested arrays would select more than 10^15."""
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    rules = compile_rules(parse_rules([{"require": "$" + "..*" * 10}]), NOW)
    found = compare(pair([deep, 1], [deep, 2]), rules, Limits())
    assert (Result.INCOMPARABLE, "too_complex") == (found.result, found.reason)


def test_routes_share_the_states_of_their_target() -> None:
    """Routes share one memory limit."""
    rules = compile_rules(parse_rules([{"ignore": "$.a.b"}, {"ignore": "$.c", "routes": ["GET /x"]}]), NOW)
    one, other = rules.for_route("GET /x", "GET"), rules.for_route("GET /y", "GET")
    assert one.root is not other.root
    assert one.root.member("a") is other.root.member("a")
    assert (None, "ignore $.c") == (other.root.member("c").effect.ignore, one.root.member("c").effect.ignore)
