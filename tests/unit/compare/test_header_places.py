"""Test the places of cookies and headers."""

from __future__ import annotations

import pytest

from shadowdiff.model import Result
from tests.unit.compare.comparing import compared

X, Y = "3f2a9bc17d1e4a5b", "9c8b7a6f5e4d3c2b"


def places(one: list[str], other: list[str], *rules: object) -> list[tuple[str, str | None, str | None]]:
    """Return the place and the values of each difference between cookies."""
    headers = [("set-cookie", each) for each in one], [("set-cookie", each) for each in other]
    found = compared(("{}", "{}"), *rules, headers=headers)
    return [(each.pattern, each.primary, each.candidate) for each in found.differences]


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        ("sid=1; Path=/", "sid=2; Path=/app", "['sid'].path"),
        ("sid=1; Path=/; Secure", "sid=2; Path=/", "['sid'].secure"),
        ("sid=1; Max-Age=60; Secure", "sid=2; Max-Age=61", "['sid'].max-age,secure"),
        ("sid=1; Path=/", "sid=; Path=/", "['sid'].value"),
        ("sid=1; Odd=1", "sid=1", "['sid'].other"),
        (f"{X}=1; Path=/", f"{X}=1; Path=/app", "[{hex}].path"),
        (f"sess_{X}=1; Path=/", f"sess_{X}=1", "[sess_{hex}].path"),
        ("it's=1", "it's=", '["it\'s"].value'),
    ],
)
def test_each_attribute_of_a_cookie_is_a_place(one: str, other: str, place: str) -> None:
    """A noisy attribute hides no other attribute."""
    assert [found[0] for found in places([one], [other])] == [f"header.set-cookie{place}"]


def test_a_cookie_that_one_side_sets_has_the_place_of_its_name() -> None:
    """A generated name is the same place in every response."""
    name = "header.set-cookie[{hex}]"
    assert places([f"{X}=1; Path=/"], [f"{Y}=1; Path=/"]) == [(name, "path=/", None), (name, None, "path=/")]


def test_cookies_with_generated_names_differ_in_their_attributes_too() -> None:
    """If the names are noise, a lost attribute is not."""
    one, other = [f"{X}=1; Path=/; Secure"], [f"{Y}=1; Path=/"]
    assert ("header.set-cookie[{hex}].secure", "path=/; secure", "path=/") in places(one, other)
    headers = [("set-cookie", one[0])], [("set-cookie", other[0])]
    rule = {"ignore": "header.set-cookie"}
    assert compared(("{}", "{}"), rule, headers=headers).result is Result.IGNORED
    assert len(places(one, other, rule)) == 2


def test_a_header_with_a_generated_name_is_one_place() -> None:
    """The path still has the real name."""
    headers = [(f"x-{X}", "1")], [("x-total", "1")]
    found = compared(("{}", "{}"), headers=headers).differences
    assert [(each.path, each.pattern) for each in found] == [
        (f"header.x-{X}", "header.x-{hex}"),
        ("header.x-total", "header.x-total"),
    ]
