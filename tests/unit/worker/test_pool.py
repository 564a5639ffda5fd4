"""Large pairs are compared in a process of their own, which is killed when its time is up."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Pair, Result, Side
from shadowdiff.rules import compile_rules
from shadowdiff.worker import ComparisonPool
from shadowdiff.worker.pool import Job, is_large
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
"""Far less than 10 MB take anywhere, and far more than two numbers do; on a busy machine these may be tried again."""
WITHIN_S = 60.0


def body(elements: int, changed: int = -1) -> bytes:
    """Return an array, one element of which is changed."""
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
    """Give a pool, and end its processes."""
    made = ComparisonPool(workers, time_s)
    try:
        yield made
    finally:
        made.close()


def comparing() -> set[int | None]:
    """Return the processes that compare at this moment."""
    return {child.pid for child in multiprocessing.active_children() if child.name == "shadowdiff-compare"}


async def test_what_takes_too_long_is_killed_and_the_next_pair_is_compared() -> None:
    """The process is gone with its comparison, says why, and another takes its place."""
    slow, quick = job(body(MANY), body(MANY, 7)), job(b"[1]", b"[2]")
    with pool(1, HURRIED_S) as hurried:
        assert Result.MISMATCH is (await _patiently(hurried, quick)).result
        first = comparing()
        late = await hurried.compare(slow)
        assert (Result.INCOMPARABLE, "comparison_timed_out") == (late.result, late.reason)
        assert set() == comparing() & first
        assert Result.MISMATCH is (await _patiently(hurried, quick)).result
        assert 1 == len(comparing() - first)
    assert set() == comparing()


async def _patiently(hurried: ComparisonPool, quick: Job) -> Comparison:
    """Compare a pair that takes no time, as often as the machine is too busy for it."""
    async with asyncio.timeout(WITHIN_S):
        while (comparison := await hurried.compare(quick)).reason == "comparison_timed_out":
            pass
    return comparison


async def test_the_loop_goes_on_beside_pairs_of_ten_megabytes() -> None:
    """While they are compared small ones are, too, and no pause is as long as one of them would stop the loop for."""
    large, small = job(body(MANY), body(MANY, 7)), job(b"[1]", b"[2]")
    assert (True, False) == (is_large(large.pair), is_large(small.pair))
    began_s = time.perf_counter()
    expected = compare(large.pair, NO_RULES, large.limits)
    stopped_s = time.perf_counter() - began_s
    with pool(2, WITHIN_S) as roomy:
        assert Result.MISMATCH is (await roomy.compare(small)).result
        beside = asyncio.gather(*(roomy.compare(large) for _ in range(2)))
        longest_s = 0.0
        while not beside.done():
            began_s = time.perf_counter()
            assert Result.MISMATCH is compare(small.pair, NO_RULES, small.limits).result
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.perf_counter() - began_s)
        assert [expected] * 2 == await beside
    assert longest_s < stopped_s
