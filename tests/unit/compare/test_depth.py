"""How deep a text nests is told alike by all who ask."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare import depth
from shadowdiff.compare.depth import MAX_DEPTH, is_shallow, is_too_deep

_texts = st.recursive(
    st.sampled_from([1, "", "[", "]]", '"{', '\\"}', "\\", "[]", 'a"b']),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["{", "k", '"']), below, max_size=3),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())


@given(_texts, st.integers(1, 6))
def test_a_glance_never_takes_what_is_too_deep(text: bytes, bound: int) -> None:
    """Whatever brackets, quotes and backslashes there are in strings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth, "MAX_DEPTH", bound)
        assert not (is_shallow(text) and is_too_deep(text))


@pytest.mark.parametrize(("levels", "elements"), [(1, 1), (4, 1), (4, 200), (30, 1), (MAX_DEPTH - 2, 1)])
def test_a_glance_takes_what_services_answer(levels: int, elements: int) -> None:
    """Many shallow objects, or a few that nest as deep as they may."""
    text = b"[" * levels + b",".join([b'{"a":"x\\"y","b":[]}'] * elements) + b"]" * levels
    assert is_shallow(text)
    assert not is_too_deep(text)


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1])
def test_the_deepest(levels: int) -> None:
    """One level more is too deep, for whoever asks."""
    text = b"[" * levels + b"]" * levels
    assert is_shallow(text) == (levels <= MAX_DEPTH)
    assert is_too_deep(text) == (levels > MAX_DEPTH)


def test_a_glance_leaves_long_and_deep_texts_to_the_parser() -> None:
    """It would take ever more looks."""
    text = b"[" + b",".join([b"[" * 30 + b"]" * 30] * 100) + b"]"
    assert not is_shallow(text)
    assert not is_too_deep(text)


@pytest.mark.parametrize("said", [b"[", b"}", b'\\"[', b"[]"])
def test_brackets_in_strings_are_left_to_the_parser_where_there_are_many(said: bytes) -> None:
    """They could make a deep text look shallow; in a text of few brackets they cannot."""
    assert is_shallow(b'{"a":"%b","b":[{}]}' % said)
    assert not is_shallow(b'{"a":"%b","b":[%b]}' % (said, b",".join([b"[]"] * 300)))
