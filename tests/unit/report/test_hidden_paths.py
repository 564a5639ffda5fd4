"""What the configuration declares secret by its path: exactly that in JSON, and rather too much elsewhere."""

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
    """Return what is taken out, as it was written."""
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
def test_in_json_exactly_what_a_path_selects_is_taken(path: str, expected: list[str], indent: int | None) -> None:
    """With all below it; a path that is none of RFC 9535 counts by its last name, as it always did."""
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
def test_where_no_path_can_be_told_its_last_name_counts(text: str) -> None:
    """In what is cut short, malformed, or no JSON at all."""
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
def test_values_of_differences_are_known_by_their_place(at: str, value: str, *, is_hidden: bool) -> None:
    """At it, below it, and above it."""
    told = Redactor(b"k", paths=["$.user.ssn"]).difference(difference(at, primary=value, candidate=value))
    assert [is_hidden] * 2 == ["Insured" not in (side or "") for side in (told.primary, told.candidate)]


def test_text_that_is_deep_is_not_walked_through_for_ever() -> None:
    """Past a bound nothing can be told, so that names count."""
    deep = "[" * 5000 + '{"ssn": "Insured-Nine"}' + "]" * 5000
    assert HiddenPaths(["$..ssn"]).find(deep) is None
    assert "Insured" not in Redactor(b"k", paths=["$..ssn"]).text(deep)


def test_redacting_twice_is_redacting_once() -> None:
    """By paths as by names."""
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
def test_any_json_is_walked_through_as_a_parser_reads_it(document: dict[str, Any], more: Any) -> None:
    """What stands at a path is found where the parser finds it, and nothing else."""
    document = {**document, "secret place": {"a": more}}
    text = json.dumps(document, ensure_ascii=False)
    found = HiddenPaths(["$['secret place'].a"]).find(text)
    expected = [one for one in _values_at(document, ("secret place", "a")) if json.dumps(one) not in NOTHING]
    assert found is not None
    assert json.dumps(expected) == json.dumps([json.loads(text[one.start : one.end]) for one in found])


@pytest.mark.parametrize(
    ("path", "name"),
    [("$.a.b", "b"), ("$..b[*]", "b"), ("b", "b"), ("$['x y'][0]", "x y"), ("$", ""), ("$.a[-1]", "a")],
)
def test_the_last_name_of_a_path(path: str, name: str) -> None:
    """Whatever stands behind it."""
    assert name == last_name(path)
