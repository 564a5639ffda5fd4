"""Large pairs are compared in a separate process, which is killed at its deadline."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Later, Pair, Put, Result, Side
from shadowdiff.rules import compile_rules
from shadowdiff.worker import ComparisonPool
from shadowdiff.worker.comparison_pool import Job, is_large
from tests.fakes.traffic import observation

if TYPE_CHECKING:
    from collections.abc import Generator

    from shadowdiff.model import Comparison

ROOMY = Limits(decoded_bytes=64 << 20)
NO_RULES = compile_rules((), datetime(2026, 1, 1, tzinfo=UTC))
ELEMENT = b'{"id":%d,"name":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","tags":[1,2.5,true]}'
MANY = 120_000
"""Elements of some 85 bytes: 10 MB."""
HURRIED_S = 0.05
"""Far too short to compare 10 MB, and long enough to compare two numbers."""
WITHIN_S = 60.0


def body(elements: int, changed: int = -1) -> bytes:
    """Return an array with one changed element."""
    return b"[" + b",".join(ELEMENT % (-1 if index == changed else index) for index in range(elements)) + b"]"


def job(one: bytes, other: bytes) -> Job:
    """Return a comparison of two JSON bodies."""
    return Job(
        Pair(
            key=b"k",
            target="t",
            route="GET /x",
            primary=observation(Side.PRIMARY, one),
            candidate=observation(Side.CANDIDATE, other),
        ),
        (),
        0.0,
        ROOMY,
    )


@contextmanager
def pool(workers: int, time_s: float) -> Generator[ComparisonPool]:
    """Yield a pool, and end its processes."""
    made = ComparisonPool(workers, time_s)
    try:
        yield made
    finally:
        made.close()


def comparing() -> set[int | None]:
    """Return the ids of the living comparing processes."""
    return {child.pid for child in multiprocessing.active_children() if child.name == "shadowdiff-compare"}


async def test_a_slow_comparison_is_killed_and_the_next_pair_is_compared() -> None:
    """The result has the reason, and another process replaces the killed one."""
    slow, quick = job(body(MANY), body(MANY, 7)), job(b"[1]", b"[2]")
    with pool(1, HURRIED_S) as hurried:
        assert Result.MISMATCH is (await _compare_small(hurried, quick)).result
        first = comparing()
        late = await hurried.compare(slow)
        assert (Result.INCOMPARABLE, "comparison_timed_out") == (late.result, late.reason)
        assert set() == comparing() & first
        assert Result.MISMATCH is (await _compare_small(hurried, quick)).result
        assert 1 == len(comparing() - first)
    assert set() == comparing()


async def _compare_small(hurried: ComparisonPool, quick: Job) -> Comparison:
    """Compare a small pair, and retry if the machine was too busy to do it in time."""
    async with asyncio.timeout(WITHIN_S):
        while (comparison := await hurried.compare(quick)).reason == "comparison_timed_out":
            pass
    return comparison


async def test_the_event_loop_stays_responsive_during_pairs_of_ten_megabytes() -> None:
    """Small pairs are compared meanwhile, and each pause is shorter than comparing a large pair on the loop."""
    large, small = job(body(MANY), body(MANY, 7)), job(b"[1]", b"[2]")
    assert (True, False) == (is_large(large.pair), is_large(small.pair))
    began_s = time.perf_counter()
    expected = compare(large.pair, NO_RULES, large.limits)
    stopped_s = time.perf_counter() - began_s
    with pool(2, WITHIN_S) as roomy:
        assert Result.MISMATCH is (await roomy.compare(small)).result
        comparisons = asyncio.gather(*(roomy.compare(large) for _ in range(2)))
        longest_s = 0.0
        while not comparisons.done():
            began_s = time.perf_counter()
            assert Result.MISMATCH is compare(small.pair, NO_RULES, small.limits).result
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.perf_counter() - began_s)
        assert [expected] * 2 == await comparisons
    assert longest_s < stopped_s


async def test_later_writes_are_made_in_a_process_and_may_fail() -> None:
    """If making a sample fails, the pair is committed without it."""

    def puts(made: str) -> tuple[Put, ...]:
        return (Put("made", made.encode(), 1),)

    about = job(b"1", b"2").pair
    with pool(1, WITHIN_S) as made:
        assert (Put("made", b"7", 1),) == await made.writes(Later(str, (7,), puts), about)
        for failing in (Later(int, ("no number",), puts), Later(os._exit, (1,), puts), Later(str, (puts,), puts)):
            assert () == await made.writes(failing, about)
    with pool(1, HURRIED_S) as hurried:
        assert () == await hurried.writes(Later(time.sleep, (WITHIN_S,), puts), about)
