"""Counting pairs: what is written is what is read, within bounds."""

from __future__ import annotations

from itertools import count

import pytest

from shadowdiff.model import Comparison, Incr, Kind, Result, Side
from shadowdiff.verdict import TargetCounts, count_writes, read_counts
from shadowdiff.verdict import counts as counting
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, difference, mismatch, observation, pair

ROUTE = "GET /products/{id}"
IGNORED = Comparison(result=Result.IGNORED, differences=(difference("$['at']", rule="ignore $.at"),))
INCOMPARABLE = Comparison(result=Result.INCOMPARABLE, reason="primary_5xx")


async def _counted(*comparisons: Comparison, target: str = "shop") -> TargetCounts:
    store = MemoryStore()
    for comparison in comparisons:
        store.commit(count_writes(pair(), comparison))
    return await read_counts(store, target)


async def test_each_result_counts_once_under_its_route() -> None:
    """Four pairs with four outcomes are one of each."""
    counted = await _counted(MATCH, IGNORED, mismatch(), INCOMPARABLE)
    assert {"match": 1, "ignored": 1, "mismatch": 1, "incomparable": 1} == counted.results
    assert [ROUTE] == [route.route for route in counted.routes]


async def test_what_could_not_be_compared_is_no_part_of_the_ratio() -> None:
    """The ratio is mismatches over pairs of which something can be said."""
    counted = await _counted(MATCH, MATCH, IGNORED, mismatch(), INCOMPARABLE)
    assert (4, 0.25) == (counted.compared, counted.mismatch_ratio)
    assert {"primary_5xx": 1} == counted.routes[0].reasons


async def test_a_place_counts_once_per_pair_however_often_it_differs() -> None:
    """Three items with a wrong price are one pair that differs at `items[*].price`."""
    pattern = "$['items'][*]['price']"
    found = [difference(f"$['items'][{at}]['price']", pattern=pattern) for at in range(3)]
    counted = await _counted(mismatch(*found), mismatch(found[0]))
    assert [(pattern, "value", 2)] == [(path.path, path.kind, path.count) for path in counted.routes[0].paths]


async def test_covered_differences_are_counted_apart_with_their_rule() -> None:
    """What a rule covers is seen, and is no difference that counts."""
    route = (await _counted(IGNORED)).routes[0]
    assert ((), [("$['at']", "ignore $.at", 1)]) == (
        route.paths,
        [(path.path, path.rule, path.count) for path in route.covered],
    )


async def test_each_side_keeps_its_own_latency() -> None:
    """v1 takes 4.2 ms and v2 6.8 ms: their buckets end at 5 and 7."""
    latency = (await _counted(MATCH)).routes[0].latency
    assert (5.0, 7.0) == (latency["primary"].p50_ms, latency["candidate"].p99_ms)


async def test_an_unknown_duration_is_not_counted_as_none() -> None:
    """A recorder that measured nothing adds to no bucket."""
    store = MemoryStore()
    store.commit(count_writes(pair(observation(Side.PRIMARY, duration_ms=-1.0)), MATCH))
    assert ["candidate"] == list((await read_counts(store, "shop")).routes[0].latency)


async def test_names_with_separators_stay_apart() -> None:
    """Routes, patterns and rules may hold any character: no two places share a field."""
    odd = ['a","b', "a|b", "a\x1fb", "a:b", "{}", "é", '\\"']
    store = MemoryStore()
    for text in odd:
        made = pair(route=f"GET /{text}")
        store.commit(count_writes(made, mismatch(difference(f"$['{text}']"))))
    counted = await read_counts(store, "shop")
    assert sorted((f"GET /{text}", f"$['{text}']") for text in odd) == sorted(
        (route.route, path.path) for route in counted.routes for path in route.paths
    )


async def test_routes_beyond_the_bound_are_counted_together_and_keep_their_results() -> None:
    """The overflow stands under `_other`, where a mismatch is still a mismatch."""
    store = MemoryStore()
    caps = counting.CountCaps(routes=5)
    for number in range(18):
        store.commit(count_writes(pair(route=f"GET /{number}"), mismatch(), caps))
    counted = await read_counts(store, "shop")
    other = next(route for route in counted.routes if route.route == counting.OTHER)
    assert (18, 3) == (counted.results["mismatch"], other.results["mismatch"])


async def test_the_worst_route_comes_first() -> None:
    """Routes are ordered by how many of their pairs differ."""
    store = MemoryStore()
    for route, comparison in (("GET /a", MATCH), ("GET /a", MATCH), ("GET /b", mismatch())):
        store.commit(count_writes(pair(route=route), comparison))
    assert ["GET /b", "GET /a"] == [route.route for route in (await read_counts(store, "shop")).routes]


async def test_targets_are_counted_apart() -> None:
    """Another target's counts are empty."""
    assert (0, None) == ((await _counted(MATCH, target="other")).compared, (await _counted(target="x")).mismatch_ratio)


def test_a_match_makes_its_writes_once() -> None:
    """The second match of a route returns the very same increments."""
    assert count_writes(pair(number=1), MATCH) is count_writes(pair(number=2), MATCH)


def test_what_is_kept_between_pairs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of routes fills the memory of made writes only so far."""
    monkeypatch.setattr(counting, "_KEPT", len(counting._kept) + 5)  # pyright: ignore[reportPrivateUsage]
    numbers = count()
    for _ in range(50):
        count_writes(pair(route=f"GET /flood/{next(numbers)}"), MATCH)
    assert len(counting._kept) <= counting._KEPT  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("comparison", [MATCH, IGNORED, mismatch(), INCOMPARABLE])
def test_every_write_is_an_increment_with_a_cap(comparison: Comparison) -> None:
    """Nothing that is counted can grow without a bound."""
    writes = count_writes(pair(), comparison)
    assert all(isinstance(write, Incr) and write.cap > 0 and write.key.startswith("counts:") for write in writes)


async def test_kinds_at_one_path_are_counted_apart() -> None:
    """A value that changed and one that vanished are two faults."""
    counted = await _counted(mismatch(), mismatch(difference(kind=Kind.REMOVED, candidate=None)))
    assert [("removed", 1), ("value", 1)] == [(path.kind, path.count) for path in counted.routes[0].paths]
