"""Hide the paths that the configuration declares secret: exactly in JSON, and more broadly in other text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.report import Redactor
from shadowdiff.report.hidden_paths import HiddenPaths, last_name
from tests.fakes.traffic import difference

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOP = {
    "id": 7,
    "user": {"id": "Anna", "ssn": "Insured-Nine", "names": ["Jo", "Al"]},
    "orders": [{"id": "first", "note": "a"}, {"id": "second", "note": "b"}],
    "odd 'name'": {"x": "quoted"},
}


def _hidden(text: str, *paths: str) -> list[str]:
    """Return the hidden values in their original form."""
    redactor = Redactor(b"k", paths=paths)
    return [text[one.start : one.end] for one in redactor.secrets(text, "application/json")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.user.ssn", ['"Insured-Nine"']),
        ("$.user.id", ['"Anna"']),
        ("$..id", ["7", '"Anna"', '"first"', '"second"']),
        ("$.orders[*].id", ['"first"', '"second"']),
        ("$.orders[1].note", ['"b"']),
        ("$.orders[-1].note", ['"a"', '"b"']),
        ("$.orders[1:].note", ['"a"', '"b"']),
        ("$.user.names", ['["Jo", "Al"]']),
        ("$['odd \\'name\\''].x", ['"quoted"']),
        ("$.user.*", ['"Anna"', '"Insured-Nine"', '["Jo", "Al"]']),
        ("$.ssn", []),
        ("ssn", ['"Insured-Nine"']),
        ("user.ssn", ['"Insured-Nine"']),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_in_json_exactly_the_selected_values_are_hidden(path: str, expected: list[str], indent: int | None) -> None:
    """Everything below the path is hidden; a path outside RFC 9535 applies by its last name."""
    text = json.dumps(SHOP, indent=indent)
    assert expected == [json.dumps(json.loads(one)) for one in _hidden(text, path)]


@pytest.mark.parametrize(
    "text",
    [
        '{"user": {"ssn": "Insured-Nine", "b": [1, 2',
        '{"user": {"ssn": "Insured-Nine',
        '{"a": 1}\n{"ssn": "Insured-Nine"}\n',
        'data: {"ssn": "Insured-Nine"}\n\n',
        "<r><ssn>Insured-Nine</ssn></r>",
        "could not be read: ssn=Insured-Nine\n",
        '{"user": {"ssn": "Insured-Nine"}} trailing',
    ],
)
def test_last_name_counts_if_paths_are_unknown(text: str) -> None:
    """In truncated or malformed text, or text that is not JSON, values are hidden by their last name."""
    assert "Insured" not in Redactor(b"k", paths=["$.user.ssn"]).body(text, "application/json")


@pytest.mark.parametrize(
    ("at", "value", "is_hidden"),
    [
        ("$['user']['ssn']", '"Insured-Nine"', True),
        ("$['user']['ssn']['part']", '"Insured-Nine"', True),
        ("$['user']", '{"id": 1, "ssn": "Insured-Nine"}', True),
        ("$", '{"user": {"ssn": "Insured-Nine"}}', True),
        ("$['other']['ssn']", '"Insured-Nine"', False),
        ("$['other']", '{"ssn": "Insured-Nine"}', False),
    ],
)
def test_values_of_differences_are_hidden_by_their_path(at: str, value: str, *, is_hidden: bool) -> None:
    """A hidden path covers differences at, below and above it."""
    redacted = Redactor(b"k", paths=["$.user.ssn"]).difference(difference(at, primary=value, candidate=value))
    assert [is_hidden] * 2 == ["Insured" not in (side or "") for side in (redacted.primary, redacted.candidate)]


def test_deeply_nested_text_is_searched_by_names() -> None:
    """Beyond a depth limit, redaction uses names instead of paths."""
    deep = "[" * 5000 + '{"ssn": "Insured-Nine"}' + "]" * 5000
    assert HiddenPaths(["$..ssn"]).find(deep, "$", lambda _units: None) is None
    assert "Insured" not in Redactor(b"k", paths=["$..ssn"]).text(deep)


def test_redacting_twice_is_redacting_once() -> None:
    """Hiding by paths and by names twice equals hiding once."""
    redactor = Redactor(b"k", paths=["$.user.names", "$..ssn"])
    once = redactor.body(json.dumps(SHOP), "application/json")
    assert once == redactor.body(once, "application/json")


NOTHING = ("null", "true", "false", '""')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab'\"\\é", max_size=3), inner, max_size=4),
    max_leaves=20,
)


def _values_at(value: Any, names: tuple[str, ...]) -> Iterator[Any]:
    if not names:
        yield value
    elif isinstance(value, dict) and names[0] in value:
        yield from _values_at(value[names[0]], names[1:])


@given(document=st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3), more=VALUES)
def test_any_json_is_read_like_a_parser_reads_it(document: dict[str, Any], more: Any) -> None:
    """The redactor and a parser find the same value at a path."""
    document = {**document, "secret place": {"a": more}}
    text = json.dumps(document, ensure_ascii=False)
    found = HiddenPaths(["$['secret place'].a"]).find(text, "$", lambda _units: None)
    expected = [one for one in _values_at(document, ("secret place", "a")) if json.dumps(one) not in NOTHING]
    assert found is not None
    assert json.dumps(expected) == json.dumps([json.loads(text[one.start : one.end]) for one in found])


@pytest.mark.parametrize(
    ("path", "name"),
    [("$.a.b", "b"), ("$..b[*]", "b"), ("b", "b"), ("$['x y'][0]", "x y"), ("$", ""), ("$.a[-1]", "a")],
)
def test_the_last_name_of_a_path(path: str, name: str) -> None:
    """The function ignores everything after the last name."""
    assert name == last_name(path)
