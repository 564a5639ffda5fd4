"""Waits double up to a limit, and start over after a reset."""

from __future__ import annotations

from shadowdiff.model import Backoff


def test_waits_double_up_to_the_limit() -> None:
    """The first wait is the given one; no wait exceeds the limit."""
    backoff = Backoff(0.1, 0.5)
    assert [0.1, 0.2, 0.4, 0.5, 0.5] == [backoff.next_s() for _ in range(5)]


def test_reset_begins_with_the_first_wait() -> None:
    """After a success, the next failure has the first wait again."""
    backoff = Backoff(1.0, 10.0)
    assert [1.0, 2.0] == [backoff.next_s(), backoff.next_s()]
    backoff.reset()
    assert backoff.next_s() == 1.0
