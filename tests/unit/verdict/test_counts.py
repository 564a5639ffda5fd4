"""Counts of pairs are read as they were written, within limits."""

from __future__ import annotations

import msgspec
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
    """Four pairs with four results are one of each."""
    counted = await _counted(MATCH, IGNORED, mismatch(), INCOMPARABLE)
    assert {"match": 1, "ignored": 1, "mismatch": 1, "incomparable": 1} == counted.results
    assert [ROUTE] == [route.route for route in counted.routes]


async def test_incomparable_pairs_are_not_in_the_ratio() -> None:
    """The ratio is mismatches over pairs that could be compared."""
    counted = await _counted(MATCH, MATCH, IGNORED, mismatch(), INCOMPARABLE)
    assert (4, 0.25) == (counted.compared, counted.mismatch_ratio)
    assert {"primary_5xx": 1} == counted.routes[0].reasons


async def test_place_counts_once_per_pair() -> None:
    """Three items with a wrong price are one pair that differs at `items[*].price`."""
    pattern = "$['items'][*]['price']"
    found = [difference(f"$['items'][{at}]['price']", pattern=pattern) for at in range(3)]
    counted = await _counted(mismatch(*found), mismatch(found[0]))
    assert [(pattern, "value", 2)] == [(path.path, path.kind, path.count) for path in counted.routes[0].paths]


async def test_places_with_earlier_names_are_read_as_one() -> None:
    """Counts from before the keys of an object were known to be open-ended belong to its place."""
    store = MemoryStore()
    for name in ("ada", "bob"):
        store.commit(count_writes(pair(), mismatch(difference(f"$['users']['{name}']"))))
    counted = await read_counts(store, "shop", fold_place=lambda _: "$['users'][{name}]")
    assert [("$['users'][{name}]", 2)] == [(path.path, path.count) for path in counted.routes[0].paths]


async def test_covered_differences_are_counted_with_their_rule() -> None:
    """A covered difference is shown and does not count."""
    route = (await _counted(IGNORED)).routes[0]
    assert ((), [("$['at']", "ignore $.at", 1)]) == (
        route.paths,
        [(path.path, path.rule, path.count) for path in route.covered],
    )


async def test_each_side_has_its_own_latency() -> None:
    """v1 takes 4.2 ms and v2 6.8 ms, and their buckets end at 5 and 7."""
    latency = (await _counted(MATCH)).routes[0].latency
    assert (5.0, 7.0) == (latency["primary"].p50_ms, latency["candidate"].p99_ms)


async def test_unknown_duration_is_not_counted() -> None:
    """A record without a duration adds to no bucket."""
    store = MemoryStore()
    store.commit(count_writes(pair(observation(Side.PRIMARY, duration_ms=-1.0)), MATCH))
    assert ["candidate"] == list((await read_counts(store, "shop")).routes[0].latency)


async def test_names_with_separators_are_separate() -> None:
    """Routes, patterns and rules may contain any character, but no two paths share a field."""
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
    """The overflow is under `_other`, where a mismatch is still a mismatch."""
    store = MemoryStore()
    caps = counting.CountCaps(routes=5)
    for number in range(18):
        store.commit(count_writes(pair(route=f"GET /{number}"), mismatch(), caps))
    counted = await read_counts(store, "shop")
    other = next(route for route in counted.routes if route.route == counting.OTHER)
    assert (18, 3) == (counted.results["mismatch"], other.results["mismatch"])


async def test_worst_route_comes_first() -> None:
    """Routes are ordered by how many of their pairs differ."""
    store = MemoryStore()
    for route, comparison in (("GET /a", MATCH), ("GET /a", MATCH), ("GET /b", mismatch())):
        store.commit(count_writes(pair(route=route), comparison))
    assert ["GET /b", "GET /a"] == [route.route for route in (await read_counts(store, "shop")).routes]


async def test_targets_are_counted_separately() -> None:
    """The counts of a second target are empty."""
    assert (0, None) == ((await _counted(MATCH, target="other")).compared, (await _counted(target="x")).mismatch_ratio)


def test_match_reuses_its_writes() -> None:
    """The second match of a route returns the same increments."""
    assert count_writes(pair(number=1), MATCH) is count_writes(pair(number=2), MATCH)


def test_cache_of_writes_is_bounded() -> None:
    """Many routes fill the caches only up to their limit."""
    flooded, bound = pair(), counting._KEPT  # pyright: ignore[reportPrivateUsage]
    for number in range(bound + 5):
        count_writes(msgspec.structs.replace(flooded, route=f"GET /flood/{number}"), MATCH)
    caches = (counting._incr, counting._outcome)  # pyright: ignore[reportPrivateUsage]
    assert [bound, bound] == [cache.cache_info().currsize for cache in caches]


@pytest.mark.parametrize("comparison", [MATCH, IGNORED, mismatch(), INCOMPARABLE])
def test_every_write_is_an_increment_with_a_cap(comparison: Comparison) -> None:
    """No count grows without a limit."""
    writes = count_writes(pair(), comparison)
    assert all(isinstance(write, Incr) and write.cap > 0 and write.key.startswith("counts:") for write in writes)


async def test_kinds_at_one_path_are_counted_separately() -> None:
    """A changed value and a missing one are two differences."""
    counted = await _counted(mismatch(), mismatch(difference(kind=Kind.REMOVED, candidate=None)))
    assert [("removed", 1), ("value", 1)] == [(path.kind, path.count) for path in counted.routes[0].paths]
