"""Test counts per minute and hour: a window reads what was written, within limits."""

from __future__ import annotations

import pytest

from shadowdiff.model import OTHER, Comparison, Expire, Incr, Result
from shadowdiff.verdict import history as module
from shadowdiff.verdict.counts import CountCaps
from shadowdiff.verdict.history import History, Unit, history_writes, read_history
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, difference, mismatch, pair

MINUTE, HOUR = 60_000, 3_600_000
NOW_MS = 1_772_000_055_000
INCOMPARABLE = Comparison(result=Result.INCOMPARABLE, reason="primary_5xx")


class Clocked:
    """A store that uses the clock of the pairs."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.store = MemoryStore(lambda: self.now_ms / 1000)

    def judge(self, comparison: Comparison, ago_ms: int = 0, route: str = "GET /") -> None:
        """Count one pair that was compared this long ago."""
        self.now_ms = NOW_MS - ago_ms
        self.store.commit(history_writes(pair(route=route), comparison, self.now_ms))
        self.now_ms = NOW_MS

    async def read(self, start_ms: int, end_ms: int = 0) -> History:
        """Return the counts between two moments in the past."""
        return await read_history(self.store, "shop", NOW_MS - start_ms, NOW_MS - end_ms, NOW_MS)


async def test_window_counts_the_pairs_compared_in_it() -> None:
    """Minutes before and after are excluded."""
    clocked = Clocked()
    for ago in (20, 12, 11, 3):
        clocked.judge(MATCH, ago * MINUTE)
    clocked.judge(mismatch(), 11 * MINUTE)
    found = await clocked.read(12 * MINUTE, 10 * MINUTE)
    assert (Unit.MINUTE, 2, 1) == (found.unit, found.results["match"], found.results["mismatch"])
    assert [(1, 0), (1, 1), (0, 0)] == [(point.results["match"], point.results["mismatch"]) for point in found.points]


async def test_window_is_rounded_outward_to_whole_buckets() -> None:
    """The history returns the rounded ends."""
    found = await Clocked().read(90_000, 30_000)
    assert (0, 0) == (found.start_ms % MINUTE, found.end_ms % MINUTE)
    assert found.start_ms <= NOW_MS - 90_000 < NOW_MS - 30_000 <= found.end_ms
    assert len(found.points) * MINUTE == found.end_ms - found.start_ms


async def test_longer_window_is_read_by_the_hour() -> None:
    """Hours cover the time before the oldest minute."""
    clocked = Clocked()
    for ago in (30, 25, 1):
        clocked.judge(MATCH, ago * HOUR)
    found = await clocked.read(26 * HOUR)
    assert (Unit.HOUR, 2) == (found.unit, found.results["match"])


async def test_places_and_routes_are_counted_in_each_bucket() -> None:
    """Routes and paths with the most differences come first. Covered differences do not count."""
    clocked = Clocked()
    clocked.judge(MATCH, route="GET /a")
    clocked.judge(mismatch(difference("$['b']"), difference("$['c']", rule="ignore $.c")), route="GET /b")
    clocked.judge(mismatch(difference("$['b']"), difference("$['d']")), route="GET /b")
    found = await clocked.read(MINUTE)
    assert ["GET /b", "GET /a"] == [route.route for route in found.routes]
    assert [("$['b']", 2), ("$['d']", 1)] == [(path.path, path.count) for path in found.routes[0].paths]


async def test_buckets_expire() -> None:
    """Minutes expire after six hours, and hours after 35 days."""
    clocked = Clocked()
    clocked.judge(INCOMPARABLE)
    clocked.judge(mismatch())
    assert {"minute", "hour"} == {key.split(":")[2] for key in clocked.store.names()}
    clocked.now_ms = NOW_MS + 7 * HOUR
    assert {"hour"} == {key.split(":")[2] for key in clocked.store.names()}
    clocked.now_ms = NOW_MS + 36 * 24 * HOUR
    assert set() == clocked.store.names()


@pytest.mark.parametrize("comparison", [MATCH, mismatch(), INCOMPARABLE])
def test_every_bucket_is_bounded_and_expires(comparison: Comparison) -> None:
    """No bucket grows without a limit."""
    writes = history_writes(pair(), comparison, NOW_MS)
    counted = {write.key for write in writes if isinstance(write, Incr) and write.cap > 0}
    assert counted == {write.key for write in writes if isinstance(write, Expire)}
    assert len(writes) == 2 * len(counted)


async def test_overflow_is_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places beyond the bound are under `_other`; the results keep every pair."""
    monkeypatch.setattr(module, "PATHS", 2)
    clocked = Clocked()
    for number in range(5):
        clocked.judge(mismatch(difference(f"$['overflow-{number}']")))
    found = await clocked.read(MINUTE)
    other = {route.route: route for route in found.routes}
    assert (5, 2) == (found.results["mismatch"], len(other["GET /"].paths))
    assert [(OTHER, 3)] == [(path.path, path.count) for path in other[OTHER].paths]


def test_match_reuses_its_writes_within_a_minute() -> None:
    """The second match of a route in a minute returns the same objects."""
    first = history_writes(pair(number=1), MATCH, NOW_MS)
    assert first is history_writes(pair(number=2), MATCH, NOW_MS + 1)
    assert first is not history_writes(pair(number=3), MATCH, NOW_MS + MINUTE)


async def test_configured_bounds_hold_in_each_bucket() -> None:
    """The limits are `limits.routes`, with room for older names, and `limits.paths` if it is smaller."""
    caps = CountCaps(routes=1, paths=2)
    clocked = Clocked()
    for number in range(5):
        comparison = mismatch(difference(f"$['bound-{number}']"))
        clocked.store.commit(history_writes(pair(route=f"GET /{number}"), comparison, NOW_MS, caps))
    found = await clocked.read(MINUTE)
    named = [route for route in found.routes if route.route != OTHER and sum(route.results.values())]
    places = [path for route in found.routes for path in route.paths if path.path != OTHER]
    assert (5, caps.names, 2) == (found.results["mismatch"], len(named), len(places))
