"""Queries follow RFC 9535, and normalized paths parse to their steps."""

from __future__ import annotations

import pytest

from shadowdiff.rules.jsonpath import (
    Index,
    Name,
    PathError,
    Segment,
    Slice,
    Wildcard,
    name_step,
    parse_query,
)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("$", ()),
        ("$.a", (Segment((Name("a"),)),)),
        ("$['a']", (Segment((Name("a"),)),)),
        ('$["a\\u0062"]', (Segment((Name("ab"),)),)),
        ("$['\\ud83d\\ude00']", (Segment((Name("😀"),)),)),
        ("$['it\\'s']", (Segment((Name("it's"),)),)),
        ("$ .a [ 0 , 'b' ]", (Segment((Name("a"),)), Segment((Index(0), Name("b"))))),
        ("$.*", (Segment((Wildcard(),)),)),
        ("$..a", (Segment((Name("a"),), descendant=True),)),
        ("$..[*]", (Segment((Wildcard(),), descendant=True),)),
        ("$[-1]", (Segment((Index(-1),)),)),
        ("$[1:5:2]", (Segment((Slice(1, 5, 2),)),)),
        ("$[:]", (Segment((Slice(None, None, 1),)),)),
        ("$[::-1]", (Segment((Slice(None, None, -1),)),)),
        ("$.ключ_1", (Segment((Name("ключ_1"),)),)),
    ],
)
def test_a_query_is_read_as_its_segments(text: str, segments: tuple[Segment, ...]) -> None:
    """Shorthand and brackets have the same meaning."""
    assert parse_query(text) == segments


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "$a", "$.", "$..", "$.1a", "$.a-b", "$[", "$[]", "$['a]", "$['a'", "$[01]", "$[-0]", "$[1 2]",
        "$['\\x']", "$['\\ud800']", "$['\\udc00']", "$['a\nb']", " $.a", "$.a ", "$[9007199254740992]",
        "$['a',]", "$...a", "$[1:2:3:4]", "$.a..", "$['\\'\\\"']",
    ],
)  # fmt: skip
def test_an_invalid_query_is_rejected_with_the_position(text: str) -> None:
    """A typo therefore never becomes a rule that matches nothing."""
    with pytest.raises(PathError, match="at position"):
        parse_query(text)


@pytest.mark.parametrize("name", ["a", "", "it's", 'say "x"', "a\\b", "\n\t\x00", "é", "😀", "a.b[0]"])
def test_a_normalized_path_parses_to_its_steps(name: str) -> None:
    """A normalized path with any characters in its names parses to its steps."""
    assert parse_query(f"${name_step(name)}[3]") == (Segment((Name(name),)), Segment((Index(3),)))


@pytest.mark.parametrize(
    ("selector", "length", "selected"),
    [
        (Index(0), 3, [0]),
        (Index(-1), 3, [2]),
        (Index(-4), 3, []),
        (Slice(1, None, 1), 3, [1, 2]),
        (Slice(None, -1, 1), 3, [0, 1]),
        (Slice(None, None, -2), 5, [0, 2, 4]),
        (Slice(0, 3, 0), 3, []),
    ],
)
def test_indexes_and_slices_select_by_the_length(selector: Index | Slice, length: int, selected: list[int]) -> None:
    """The selection follows RFC 9535, and a step of 0 selects nothing."""
    assert [index for index in range(length) if selector.selects(index, length)] == selected
