"""Test the steps of places."""

from __future__ import annotations

import pytest

from shadowdiff.rules.place import is_coarse, query_of, steps_of_name


@pytest.mark.parametrize(
    ("name", "step", "place"),
    [
        ("price", "['price']", "['price']"),
        ("it's", "['it\\'s']", "['it\\'s']"),
        ("2026-11-30", "['2026-11-30']", "[{date}]"),
        ("user:42", "['user:42']", "[user:{id}]"),
        ("{uuid}", "['{uuid}']", "['{uuid}']"),
    ],
)
def test_a_name_has_a_step_in_a_path_and_in_a_place(name: str, step: str, place: str) -> None:
    """Only a name that is a value has an unquoted step."""
    assert steps_of_name(name) == (step, place)


@pytest.mark.parametrize(
    ("place", "query"),
    [
        ("$['users'][{uuid}]['at']", "$['users'][*]['at']"),
        ("$[user:{id}][*]", "$[*][*]"),
        ("$['[{uuid}]']['a\\'[{id}]']", "$['[{uuid}]']['a\\'[{id}]']"),
        ("$['payload']['{json}']['id']", "$['payload']['{json}']['id']"),
        ("text[took {number}ms]", "text[took {number}ms]"),
        ("status", "status"),
    ],
)
def test_the_query_of_a_place_has_wildcards_for_values(place: str, query: str) -> None:
    """A rule needs a query, and quoted names stay as they are."""
    assert query_of(place) == query


def test_only_the_place_of_all_lines_is_coarse() -> None:
    """The place of a line is not coarse, whatever its text."""
    assert [is_coarse(one) for one in ("text[*]", "text[\\*]", "text", "text[a]", "$[*]")] == [True, *[False] * 4]
