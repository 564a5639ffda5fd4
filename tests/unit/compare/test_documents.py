"""Documents in strings are compared inside, within limits."""

from __future__ import annotations

import base64
import json

import pytest

from shadowdiff.compare import Limits
from shadowdiff.compare.documents import MAX_LEVELS, MAX_NESTED, may_be_document
from shadowdiff.model import Result
from shadowdiff.rules.builtin import SAME_DOCUMENT
from tests.fakes.responses import judged


def _body(value: object) -> bytes:
    return json.dumps({"p": value}).encode()


def _nested(value: object, times: int) -> str:
    text = json.dumps(value)
    for _ in range(times - 1):
        text = json.dumps({"p": text})
    return text


def _deep(value: int, levels: int, blank: str = "") -> str:
    return "[" * levels + blank + str(value) + "]" * levels


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [
        ("{}", "{ }", Result.IGNORED),
        ('\n{"a": 1}', '{"a":1}\n', Result.IGNORED),
        ("[1,2]", "[2,1]", Result.MISMATCH),
        ("7", "7.0", Result.MISMATCH),
        ('"a"', '"a" ', Result.MISMATCH),
        ("[INFO] up", "[INFO] down", Result.MISMATCH),
        ("{name}", "{ name}", Result.MISMATCH),
        ("a=1&b=2", "b=2&a=1", Result.IGNORED),
        ("a=1&a=2", "a=2&a=1", Result.MISMATCH),
        ("a=1", "a=%31", Result.MISMATCH),
        ("x & y = z", "y = z & x", Result.MISMATCH),
        ("https://h/p?a=1&b=2", "https://h/p?b=2&a=1", Result.MISMATCH),
        ("{\ud800}", "{\ud800 }", Result.MISMATCH),
    ],
)
def test_only_documents_are_compared_inside(one: str, other: str, result: Result) -> None:
    """JSON objects, JSON arrays and forms of two fields are documents; other texts, such as URLs, are not."""
    assert result is judged(_body(one), _body(other)).result
    assert result is judged(_body(other), _body(one)).result


@pytest.mark.parametrize("value", [{}, [], {"id": 7}, ["x"], [1.5], [None], {"é": 1}, [[]], [{}]], ids=repr)
@pytest.mark.parametrize("url_safe", [False, True])
def test_base64_of_json_is_a_document(value: object, url_safe: bool) -> None:
    """In both alphabets, with and without padding, whatever the value begins with."""
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    one, other = (encode(json.dumps(value, indent=indent).encode()).decode() for indent in (None, 1))
    comparison = judged(_body(one), _body(other.rstrip("=")))
    assert may_be_document(one)
    assert [SAME_DOCUMENT.label] == [each.rule for each in comparison.differences] or one == other


def test_documents_nest_a_few_times() -> None:
    """Deeper documents are compared as text."""
    rule = {"ignore": "$..at"}
    for times, result in ((MAX_NESTED, Result.IGNORED), (MAX_NESTED + 1, Result.MISMATCH)):
        one, other = ({"at": at} for at in (1, 2))
        assert result is judged(_body(_nested(one, times)), _body(_nested(other, times)), rule).result


def test_a_document_with_many_levels_is_compared_as_text() -> None:
    """At most `MAX_LEVELS` levels, so that documents in deep bodies never exceed the depth of a comparison."""
    for levels, result in ((MAX_LEVELS, Result.IGNORED), (MAX_LEVELS + 1, Result.MISMATCH)):
        assert result is judged(_body(_deep(1, levels)), _body(_deep(1, levels, " "))).result


@pytest.mark.parametrize("rules", [(), ({"unordered": "$..*"}, {"rename": {"from": "$..a", "to": "$..b"}})])
def test_the_deepest_documents_in_the_deepest_body_are_compared(rules: tuple[object, ...]) -> None:
    """The depth of all documents together never exceeds what the interpreter can walk."""
    texts = [_deep(value, MAX_LEVELS) for value in (1, 2)]
    for _ in range(MAX_NESTED - 1):
        texts = [_deep(0, MAX_LEVELS).replace("0", json.dumps(text)) for text in texts]
    one, other = (_deep(0, 253).replace("0", json.dumps(text)).encode() for text in texts)
    comparison = judged(one, other, *rules, limits=Limits(path_chars=100_000))
    assert comparison.result is Result.MISMATCH
    assert rules or comparison.differences[0].path.count("[") == 1 + 252 + MAX_NESTED * (MAX_LEVELS + 1)


def test_work_for_documents_is_charged() -> None:
    """A body with many documents ends as too complex on a small budget."""
    one, other = ([json.dumps({"a": [at] * 50}, indent=indent) for at in range(500)] for indent in (None, 1))
    assert judged(_body(one), _body(other), {"unordered": "$.p"}).result is Result.IGNORED
    assert judged(_body(one), _body(other), limits=Limits(work=20_000)).reason == "too_complex"


def test_two_rules_and_a_document_cover_elements_together() -> None:
    """A mask covers one pair of elements, and the same document covers the other pair."""
    one, other = ['{"a":1}', '{"b":x}'], ['{"b":y}', '{ "a":1}']
    rules = {"unordered": "$.p"}, {"mask": {"path": "$.p[*]", "pattern": "[xy]"}}
    assert judged(_body(one), _body(other), *rules).result is Result.IGNORED
