"""Test JSON as lines: every scalar is unchanged, every line has its path, and truncated text is shown."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.display import json_lines

KEYS = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


def _lines(text: str, like: str | None = None) -> list[str]:
    node, other = json_lines.read(text), json_lines.read(like) if like else None
    assert node is not None
    return [
        "  " * line.depth + line.text + ("," if line.comma else "") for line in json_lines.lines_like(node, other)[0]
    ]


@given(VALUES)
def test_lines_equal_the_output_of_an_indenting_writer(value: object) -> None:
    """The standard library's output is the reference."""
    assert json.dumps(value, indent=2).split("\n") == _lines(json.dumps(value))


def test_scalars_stay_as_they_were_written() -> None:
    """No number is rounded, no escape decoded, and no duplicate removed."""
    text = '{"a":1.0,"a":1.50e+10,"b":12345678901234567890123,"c":"\\u00e9"}'
    expected = ["{", '  "a": 1.0,', '  "a": 1.50e+10,', '  "b": 12345678901234567890123,', '  "c": "\\u00e9"', "}"]
    assert expected == _lines(text)


def test_lines_know_their_paths() -> None:
    """Paths are normalized, as in differences."""
    node = json_lines.read('{"it\'s":[{"a\\nb":1}]}')
    assert node is not None
    assert "$['it\\'s'][0]['a\\nb']" == next(
        line.path for line in json_lines.lines_like(node)[0] if line.text.endswith("1")
    )


def test_text_cut_short_is_shown_up_to_there() -> None:
    """If the text is truncated inside a value, only that value is lost."""
    assert ["{", '  "a": 1,', '  "b": [', "    2,", "    3", "  …", "…"] == _lines('{"a":1,"b":[2,3')
    assert ["{", '  "a": 1', "…"] == _lines('{"a":1,"b')


@given(VALUES, st.integers(0, 200))
def test_any_start_of_json_is_read_or_refused(value: object, length: int) -> None:
    """No truncated text raises an exception."""
    node = json_lines.read(json.dumps(value)[:length])
    assert node is None or json_lines.lines_like(node)[0]


@given(st.text('[]{}:,"\\1a \n', max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises an exception."""
    node = json_lines.read(text)
    assert node is None or json_lines.lines_like(node)[0]


def test_text_that_is_no_json_is_refused() -> None:
    """The body is then shown as text."""
    assert [None] * 6 == [json_lines.read(text) for text in ("", "a b", "{a}", "[}", "1 2", "{1:2}")]


def test_depth_is_bounded() -> None:
    """A thousand brackets are shown as text, without deep recursion."""
    assert json_lines.read("[" * 100_000) is None


def test_keys_follow_the_other_texts_order() -> None:
    """Keys that only this text has keep their position."""
    assert ['  "a": 1,', '  "x": 0,', '  "b": 2'] == _lines('{"b":2,"a":1,"x":0}', like='{"a":9,"b":9}')[1:-1]


@given(VALUES)
def test_its_own_order_changes_nothing(value: object) -> None:
    """Sorting a text by its own order leaves it unchanged."""
    text = json.dumps(value)
    assert _lines(text) == _lines(text, like=text)
