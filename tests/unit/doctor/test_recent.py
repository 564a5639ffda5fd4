"""What is recent: growth since the oldest snapshot, and all there is where nothing came since."""

from __future__ import annotations

from shadowdiff.doctor import Recent

BEFORE = {"mirrored.received": 100, "recorded.received": 100, "primary.orphaned": 50, "primary.waiting": 5}


def _noted(*snapshots: tuple[int, dict[str, int]]) -> Recent:
    recent = Recent()
    for at_ms, counts in snapshots:
        recent.note("shop", at_ms, counts)
    return recent


def test_what_was_counted_before_is_past() -> None:
    """Only the growth is told, with the time from which it counts; what waits is told as it is."""
    now = BEFORE | {"mirrored.received": 160, "primary.orphaned": 57, "primary.waiting": 3}
    counts, since_ms = _noted((1000, BEFORE)).since("shop", now)
    assert 1000 == since_ms
    assert {"mirrored.received": 60, "recorded.received": 0, "primary.orphaned": 2, "primary.waiting": 3} == counts


def test_where_nothing_came_since_all_there_is_counts() -> None:
    """So that a doctor who is asked later than the test of the day still knows."""
    assert (BEFORE, None) == _noted((1000, BEFORE)).since("shop", BEFORE)


def test_without_a_snapshot_all_there_is_counts() -> None:
    """Right after the start."""
    assert (BEFORE, None) == _noted().since("shop", BEFORE)


def test_a_store_that_begins_anew_gives_no_negative_growth() -> None:
    """Figures that fell, as after FLUSHALL, count as nothing."""
    counts, _ = _noted((1000, BEFORE)).since("shop", {"mirrored.received": 10, "recorded.received": 100})
    assert {"mirrored.received": 0, "recorded.received": 0} == counts


def test_a_snapshot_a_minute_and_ten_of_them() -> None:
    """The oldest gives way: what is ten minutes old is past."""
    recent = _noted(*((minute * 60_000, {"mirrored.received": minute}) for minute in range(30)))
    assert (False, True) == (recent.is_due("shop", 29 * 60_000 + 59_999), recent.is_due("shop", 30 * 60_000))
    assert ({"mirrored.received": 20}, 20 * 60_000) == recent.since("shop", {"mirrored.received": 40})


def test_a_new_configuration_begins_anew() -> None:
    """What was counted under the old one says nothing."""
    recent = _noted((1000, BEFORE))
    recent.forget()
    assert recent.is_due("shop", 1001)
    assert (BEFORE, None) == recent.since("shop", BEFORE)
