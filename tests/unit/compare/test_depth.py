"""All depth checks agree with each other."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare import exact
from shadowdiff.compare.exact import MAX_DEPTH, is_shallow, is_too_deep

_texts = st.recursive(
    st.sampled_from([1, "", "[", "]]", '"{', '\\"}', "\\", "[]", 'a"b']),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["{", "k", '"']), below, max_size=3),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())


@given(_texts, st.integers(1, 6))
def test_the_quick_check_never_accepts_a_text_that_is_too_deep(text: bytes, bound: int) -> None:
    """The check counts correctly for any brackets, quotes and backslashes in strings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "MAX_DEPTH", bound)
        assert not (is_shallow(text) and is_too_deep(text))


@pytest.mark.parametrize(("levels", "elements"), [(1, 1), (4, 1), (4, 200), (30, 1), (MAX_DEPTH - 2, 1)])
def test_the_quick_check_accepts_typical_responses(levels: int, elements: int) -> None:
    """Typical responses have many shallow objects, or a few that nest to the limit."""
    text = b"[" * levels + b",".join([b'{"a":"x\\"y","b":[]}'] * elements) + b"]" * levels
    assert is_shallow(text)
    assert not is_too_deep(text)


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1])
def test_the_depth_limit_is_exact(levels: int) -> None:
    """Both checks reject one more level."""
    text = b"[" * levels + b"]" * levels
    assert is_shallow(text) == (levels <= MAX_DEPTH)
    assert is_too_deep(text) == (levels > MAX_DEPTH)


def test_the_quick_check_rejects_long_deep_texts() -> None:
    """The parser then checks these texts exactly."""
    text = b"[" + b",".join([b"[" * 30 + b"]" * 30] * 100) + b"]"
    assert not is_shallow(text)
    assert not is_too_deep(text)


@pytest.mark.parametrize("said", [b"[", b"}", b'\\"[', b"[]"])
def test_the_quick_check_rejects_many_brackets_in_strings(said: bytes) -> None:
    """Many brackets in strings could make a deep text appear shallow. A few cannot."""
    assert is_shallow(b'{"a":"%b","b":[{}]}' % said)
    assert not is_shallow(b'{"a":"%b","b":[%b]}' % (said, b",".join([b"[]"] * 300)))
