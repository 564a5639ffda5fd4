"""Test the places of lines."""

from __future__ import annotations

import pytest

from shadowdiff.compare.line_places import MAX_CHARS, PLACE_CHARS, place_of, template
from shadowdiff.compare.work import Budget, TooComplexError
from tests.unit.compare.comparing import compared


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  Queries took 3.2ms\n", "Queries took {number}ms"),
        ("took 1,024.5 ms", "took {number} ms"),
        ("<h1>Price: 12</h1>", "<h{number}>Price: {number}</h{number}>"),
        ("at 2026-11-30T20:06:00.123Z", "at {time}"),
        ("Date: Mon, 30 Nov 2026 20:06:00 GMT", "Date: {time}"),
        ("at 10:30 PM", "at {time}"),
        ("id 0b5f8f0e-6f5c-4b7e-9d0a-2f6c1f2d3e4f", "id {uuid}"),
        ("commit 3f2a9bc17d1e", "commit {hex}"),
        ("from ada@example.com", "from {email}"),
        ("see https://a.example:8080/items/7?page=2", "see {url}/items/{number}?page={number}"),
        ('say "hello world" now', "say {text} now"),
        ('class="price"', 'class="price"'),
        ("don't say it isn't", "don't say it isn't"),
        ("password=hunter2", "password={id}"),
        ("unfilled {number}", "unfilled (number)"),
        ("a\x00b\u2028c\ud800d", "ab cd"),
        ("plain words stay", "plain words stay"),
    ],
)
def test_a_template_masks_what_usually_differs(line: str, expected: str) -> None:
    """Words stay, so that lines stay apart."""
    assert template(line) == expected


def place(one: str, other: str, before: str = "") -> str:
    """Return the place of two texts; an empty text has no lines."""
    return place_of(one.splitlines(), other.splitlines(), before, Budget())


def test_a_line_with_other_values_keeps_its_place() -> None:
    """Its place is its template, whatever the values are."""
    assert place("took 3ms", "took 4ms") == place("took 5ms", "took 99ms") == "text[took {number}ms]"


def test_another_line_in_its_place_is_another_place() -> None:
    """If the place of a line is noise, an error there is not noise."""
    assert place("took 3ms", "failed") == "text[took {number}ms → failed]"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("from pod alpha: 1", "from pod beta: 2", "from pod {text}: {number}"),
        ("font: sans", "font: sans-serif", "font: sans{text}"),
        ("a b c", "a x y c", "a {text} c"),
        ("took 3ms, all ok", "took 4ms, all broken", "took {number}ms, all {text}"),
        ("a, b", "a b", "a{text} b"),
        ("alpha", "beta", "alpha → beta"),
        ("1: alpha", "2: beta", "{number}: alpha → {number}: beta"),
        ("<li>alpha</li>", "<li>beta</li>", "<li>alpha</li> → <li>beta</li>"),
        ('<li class="x">old shop</li>', '<li class="y">old shop</li>', "{text}old shop</li>"),
        ('<img src="a">', '<img src="b">', '<img src="a"> → <img src="b">'),
    ],
)
def test_other_words_in_a_line_are_masked(one: str, other: str, expected: str) -> None:
    """The place of a line with other words is not the place of the line with other numbers, on either side."""
    assert place(one, other) == f"text[{expected}]"
    swapped = place(other, one)
    assert "→" in swapped or swapped == f"text[{expected}]"


def test_lines_together_are_another_place_than_each_alone() -> None:
    """A known line does not hide another line next to it."""
    assert place("", "took 3ms\nfailed") == "text[took {number}ms⏎failed]"


def test_a_line_without_words_has_the_line_before_it() -> None:
    """Numbers in different rows are different places."""
    assert place("3", "4", "Total:") == "text[Total:⏎{number}]"
    assert place("3", "4", "<td>7</td>") == "text[{number}]"


@pytest.mark.parametrize("before", ["password:\n", '"password":', "secret = "])
def test_a_line_that_the_line_before_it_names_has_no_words(before: str) -> None:
    """The line may be a secret, which is found only together with its name."""
    assert place("hunter", "bob", before) == f"text[{before.strip()}⏎{{text}}]"
    assert place("", "bob\nfailed", before) == "text[{text}⏎failed]"


@pytest.mark.parametrize("kind", ["text/csv", "text/tab-separated-values"])
def test_a_row_has_the_coarse_place(kind: str) -> None:
    """The first row names its cells, which may be secrets."""
    found = compared(("name,password\nbob,hunter\n", "name,password\nbob,other\n"), kind=kind)
    assert [(each.path, each.pattern) for each in found.differences] == [("text[1]", "text[*]")]


def test_a_long_place_ends_with_a_digest() -> None:
    """Lines that differ only after the limit have different places."""
    long = "words and words " * 20
    places = [place(long + end, "") for end in ("a", "b", "1", "2")]
    assert [len(one) for one in places] == [len("text[]") + PLACE_CHARS] * 4
    assert len(set(places)) == 3


def test_a_huge_line_has_the_coarse_place() -> None:
    """The work of a place is bounded."""
    assert place("a" * MAX_CHARS, "b") == "text[*]"
    assert place("*", "") == "text[\\*]"


def test_a_place_is_charged() -> None:
    """The budget covers the template."""
    with pytest.raises(TooComplexError):
        place_of(["a" * 200], [], "", Budget(100))


def places(one: str, other: str) -> list[tuple[str, str]]:
    """Return the paths and places of the differences of two texts."""
    found = compared((one, other), kind="text/plain")
    return [(each.path, each.pattern) for each in found.differences]


def test_an_inserted_line_moves_no_place() -> None:
    """The noisy line has the same place with and without the inserted line."""
    noisy = [("text[1]", "text[took {number}ms]")]
    assert places("a\ntook 1ms\nb\n", "a\ntook 2ms\nb\n") == noisy
    assert places("a\ntook 1ms\nb\n", "a\nnew\ntook 2ms\nb\n") == [("text[1]", "text[new]"), *noisy]
    assert places("a\ntook 1ms\nb\n", "a\ntook 2ms\nnew\nb\n") == [*noisy, ("text[2]", "text[new]")]
    assert places("a\ngone\ntook 1ms\nb\n", "a\ntook 2ms\nb\n") == [
        ("text[1]", "text[gone]"),
        ("text[2]", "text[took {number}ms]"),
    ]
