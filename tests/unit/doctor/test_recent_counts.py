"""Recent counts are the growth since the oldest snapshot, or all counts if there is no growth."""

from __future__ import annotations

from shadowdiff.doctor.evidence import RecentCounts, flatten

BEFORE = {"mirrored.received": 100, "recorded.received": 100, "primary.orphaned": 50, "primary.waiting": 5}


def _noted(*snapshots: tuple[int, dict[str, int]]) -> RecentCounts:
    recent = RecentCounts()
    for at_ms, counts in snapshots:
        recent.note("shop", at_ms, counts)
    return recent


def test_only_growth_since_the_snapshot_counts() -> None:
    """Only the growth is reported, with its start time; waiting observations are reported as they are."""
    now = BEFORE | {"mirrored.received": 160, "primary.orphaned": 57, "primary.waiting": 3}
    counts, since_ms = _noted((1000, BEFORE)).since("shop", now)
    assert 1000 == since_ms
    assert {"mirrored.received": 60, "recorded.received": 0, "primary.orphaned": 2, "primary.waiting": 3} == counts


def test_all_counts_are_returned_if_nothing_arrived_since() -> None:
    """The doctor then still reports an earlier test."""
    assert (BEFORE, None) == _noted((1000, BEFORE)).since("shop", BEFORE)


def test_all_counts_are_returned_without_a_snapshot() -> None:
    """The counts are all returned right after the start."""
    assert (BEFORE, None) == _noted().since("shop", BEFORE)


def test_emptied_store_counts_from_its_start() -> None:
    """After FLUSHALL the figures fall. The new figures then count completely."""
    now = {"mirrored.received": 10, "recorded.received": 12, "primary.orphaned": 60}
    recent = _noted((1000, BEFORE))
    assert (now, None) == recent.since("shop", now)
    assert now == recent.growth("shop", now)


def test_figure_that_fell_has_no_negative_growth() -> None:
    """The crashed count falls when a stopped process continues."""
    before = BEFORE | {"mirrored.crashed": 5}
    counts, since_ms = _noted((1000, before)).since("shop", before | {"mirrored.received": 101, "mirrored.crashed": 0})
    assert (0, 1, 1000) == (counts["mirrored.crashed"], counts["mirrored.received"], since_ms)


def test_ten_snapshots_are_kept_one_per_minute() -> None:
    """A new snapshot replaces the oldest one, which is ten minutes old."""
    recent = _noted(*((minute * 60_000, {"mirrored.received": minute}) for minute in range(30)))
    assert (False, True) == (recent.is_due("shop", 29 * 60_000 + 59_999), recent.is_due("shop", 30 * 60_000))
    assert ({"mirrored.received": 20}, 20 * 60_000) == recent.since("shop", {"mirrored.received": 40})


def test_received_of_the_doctor_excludes_requests_in_flight() -> None:
    """A request that was just written and is still reported as in flight does not raise and then lower the count."""
    just_written = {"mirrored": {"received": 102, "forwarded": 101, "in_flight": 1}, "recorded": {"received": 7}}
    synced = {"mirrored": {"received": 101, "forwarded": 101, "in_flight": 0}, "recorded": {"received": 7}}
    for ledger in (just_written, synced):
        counts = flatten(ledger)
        assert (101, 7) == (counts["mirrored.received"], counts["recorded.received"])


def test_forget_deletes_all_snapshots() -> None:
    """Old snapshots do not apply to a new configuration."""
    recent = _noted((1000, BEFORE))
    recent.forget()
    assert recent.is_due("shop", 1001)
    assert (BEFORE, None) == recent.since("shop", BEFORE)
