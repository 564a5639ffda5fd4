"""Changes have stable ids and limited fields, and a set lists its changes."""

from __future__ import annotations

import msgspec
import pytest

from shadowdiff.model import Comparison, Kind, Result, Severity
from shadowdiff.report.change import (
    CHANGE_ID_CHARS,
    MOST_CHANGES,
    PLACE_CHARS,
    Change,
    ChangeSet,
    bounded_name,
    change_id,
    changes_of,
    ids_of,
)
from tests.fakes.traffic import MATCH, difference, mismatch, pair


def _changes(comparison: Comparison, most_differences: int = 100) -> ChangeSet:
    found = changes_of(pair(), comparison, most_differences)
    assert found is not None
    return found


def test_the_same_change_has_the_same_id_in_every_version() -> None:
    """Stored samples and tables refer to changes by this id."""
    assert "1ff5935a6022" == change_id("GET /a", "$['price']", "value", 3)
    assert Change("GET /a", "$['price']", "value", 3).id == change_id("GET /a", "$['price']", "value", 3)


@pytest.mark.parametrize(
    "other", [("GET /b", "p", "value", 1), ("GET /a", "q", "value", 1), ("GET /a", "p", "type", 1)]
)
def test_route_place_and_kind_are_parts_of_a_change(other: tuple[str, str, str, int]) -> None:
    """Each part of a change makes another id, and so does the mask."""
    assert change_id("GET /a", "p", "value", 1) not in {change_id(*other), change_id("GET /a", "p", "value", 2)}


def test_only_mismatches_have_changes() -> None:
    """A match, an ignored pair and an incomparable pair have no changes."""
    others = [MATCH, Comparison(result=Result.IGNORED), Comparison(result=Result.INCOMPARABLE, reason="x")]
    assert [None] * 3 == [changes_of(pair(), one) for one in others]


def test_a_set_lists_each_change_once_without_covered_differences() -> None:
    """All elements of an array are one change, and differences that a rule covers do not count."""
    one = difference("$['items'][0]", pattern="$['items'][*]", relations=5)
    two = difference("$['items'][1]", pattern="$['items'][*]", relations=5)
    found = _changes(mismatch(one, two, difference("$['at']", rule="ignore")))
    assert (Change("GET /products/{id}", "$['items'][*]", "value", 5),) == found.changes
    assert ((found.changes[0].id,), False) == ids_of(found.field)


def test_the_order_of_differences_does_not_change_a_set() -> None:
    """Formats may list the same differences in another order."""
    one, two = difference("$['a']"), difference("$['b']", kind=Kind.TYPE, severity=Severity.BREAKING)
    found = _changes(mismatch(one, two))
    assert _changes(mismatch(two, one)) == found
    assert ((Severity.VALUE, Severity.BREAKING), False) == (found.severities, found.has_more)


def test_a_change_has_the_highest_severity_of_its_differences() -> None:
    """A header can be added by one difference and replaced by another."""
    found = _changes(mismatch(difference(severity=Severity.ADDITIVE), difference(severity=Severity.BREAKING)))
    assert (Severity.BREAKING,) == found.severities


def test_a_set_lists_at_most_32_changes() -> None:
    """The field of a set is limited, and says that changes are missing."""
    found = _changes(mismatch(*(difference(f"$['f{n:03}']") for n in range(MOST_CHANGES + 1))))
    ids, has_more = ids_of(found.field)
    assert (MOST_CHANGES, MOST_CHANGES, True, True) == (len(found.changes), len(ids), has_more, found.has_more)
    assert len(found.field) == MOST_CHANGES * CHANGE_ID_CHARS + 1


@pytest.mark.parametrize(("listed", "has_more"), [(1, True), (2, False)])
def test_a_set_is_incomplete_if_the_comparison_is(listed: int, has_more: bool) -> None:
    """Unlisted differences that rules cover do not matter."""
    found = msgspec.structs.replace(mismatch(), unlisted=3)
    assert has_more is _changes(found, listed).has_more


def test_long_places_end_in_a_hash() -> None:
    """Two long places with the same start stay apart, in a limited field."""
    one, two = bounded_name("$" + "a" * 1000), bounded_name("$" + "a" * 1001)
    assert (PLACE_CHARS, PLACE_CHARS, False) == (len(one), len(two), one == two)
    assert bounded_name(one) == one
