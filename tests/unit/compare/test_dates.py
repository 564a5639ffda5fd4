"""Dates in headers are compared with the time of their response."""

from __future__ import annotations

import pytest

from shadowdiff.compare.fields import is_past, present_s
from shadowdiff.model import Observation, Side
from tests.fakes import responses

JUNE_MS = 1_780_000_000_000  # 28 May 2026


def response(date: bytes | None = None, at_ms: int = 0) -> Observation:
    """Return a response with a Date, or recorded at a time."""
    return responses.response(Side.PRIMARY, headers=((b"date", date),) if date else (), at_ms=at_ms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", True),
        ("Thu, 01-Jan-1970 00:00:01 GMT", True),
        ("Thursday, 01-Jan-70 00:00:01 GMT", True),
        ("Sun Nov  6 08:49:37 1994", True),
        ("Wed, 01 Jun 2033 10:00:00 GMT", False),
        ("Wed, 01-Jun-33 10:00:00 GMT", False),
        ("Mon, 01 Jun 2026 10:00:00 GMT", False),
        ("Wed Jun  1 10:00:00 2033", False),
        ("0", None),
        ("-1", None),
        ("", None),
        ("Wed, 31 Feb 2033 10:00:00 GMT", None),
        ("Wed, 01 Foo 2033 10:00:00 GMT", None),
        ("Wed, 01 Jun 2033 10:00:00 GMT" + " " * 100, None),
    ],
)
def test_a_date_is_past_at_the_time_of_its_response(text: str, expected: bool | None) -> None:
    """In every form that servers use; an invalid date is neither past nor future."""
    assert is_past(text, present_s(response(b"Mon, 01 Jun 2026 09:59:59 GMT"))) is expected


@pytest.mark.parametrize(
    ("text", "side", "expected"),
    [
        ("Fri, 01 May 2026 10:00:00 GMT", response(at_ms=JUNE_MS), True),
        ("Wed, 01 Jul 2026 10:00:00 GMT", response(at_ms=JUNE_MS), False),
        ("Fri, 01 May 2026 10:00:00 GMT", response(b"Wed, 01 Apr 2026 10:00:00 GMT", JUNE_MS), False),
        ("Fri, 01 May 2026 10:00:00 GMT", response(b"soon", JUNE_MS), True),
        ("Fri, 01 May 2026 10:00:00 GMT", response(), False),
        ("Thu, 01 Jan 1970 00:00:00 GMT", response(), True),
    ],
)
def test_without_a_date_the_time_of_recording_is_the_present(text: str, side: Observation, expected: bool) -> None:
    """Without either, only dates of the last century are past."""
    assert is_past(text, present_s(side)) is expected
