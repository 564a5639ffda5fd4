"""The worker of one shard: repeatedly claim, compare and commit pairs.

A pair is counted only if its commit returned 1. While the store is unavailable, the worker commits the same batch
again. Pairs that exceed a small work budget go to a comparison process, and the worker does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from shadowdiff.model import Backoff
from shadowdiff.pairing.claim import commit
from shadowdiff.store import STORE_ERRORS, describe_error
from shadowdiff.worker.comparison_pool import LARGE_BYTES, Job, is_large
from shadowdiff.worker.comparison_queue import ComparisonQueue
from shadowdiff.worker.judge import Judgement, control_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.compare import Limits
    from shadowdiff.model import Comparison, Pair
    from shadowdiff.pairing.claim import Claim, Claimer, Judged
    from shadowdiff.store import Store
    from shadowdiff.worker.comparison_pool import ComparisonPool
    from shadowdiff.worker.judge import Judge
    from shadowdiff.worker.pair_counters import PairCounters

    Trace = Callable[[Pair, Comparison, int], None]

log = logging.getLogger(__name__)

BATCH = 128
BATCH_BYTES = 8 << 20
"""The maximum size of a batch, as stored. After large pairs, a worker claims fewer pairs at once."""
FIRST_BATCH = 8
"""The first batch, when no size is known: a restart may find a backlog of large pairs."""
BLOCK_MS = 1000
GATHER_S = 0.05
"""The pause between two reads. It makes batches larger, because a call costs as much as half a pair."""
SLICE_S = 0.004
"""The maximum time for which comparisons block the event loop."""
LARGE_HELD_BYTES = 64 << 20
"""The maximum size of large pairs, as stored, that wait in the process for the pool. Others wait in the store."""
COMPLEX_AT_ONCE = 16
"""The maximum number of small pairs in the pool, which need more work than the event loop allows."""
COMPLEX_HELD_BYTES = 16 << 20
MOST_DEFERRED = 100_000
"""The maximum number of pairs per process that wait in the store. Excess pairs are not compared."""
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 1.0


class _Slice:
    """Yields to the event loop after each time slice."""

    def __init__(self) -> None:
        self._ends_s = time.monotonic() + SLICE_S

    async def pause(self) -> None:
        """Yield to other tasks if the time slice is over."""
        if time.monotonic() > self._ends_s:
            await asyncio.sleep(0)
            self._ends_s = time.monotonic() + SLICE_S


class ShardWorker:
    """Compares and commits the ready pairs of one shard."""

    def __init__(
        self,
        *,
        store: Store,
        shard: int,
        claimer: Claimer,
        judge: Judge,
        pool: ComparisonPool,
        limits: Limits,
        counters: PairCounters,
        claim_idle_s: float,
        trace: Trace | None = None,
    ) -> None:
        self._trace = trace
        self._store = store
        self._shard = shard
        self._claimer = claimer
        self._judge = judge
        self._pool = pool
        self._limits = limits
        self._counters = counters
        self._claim_idle_s = claim_idle_s
        self._gather_s = GATHER_S * store.gather_stretch
        self._stopping = False
        self._has_groups = False
        self._batch = FIRST_BATCH
        self._reclaim_at = 0.0
        most_deferred = MOST_DEFERRED // store.shards
        self._large = ComparisonQueue(
            claimer,
            self._work_large,
            at_once=pool.large_turns,
            most_bytes=LARGE_HELD_BYTES // store.shards,
            most_deferred=most_deferred,
        )
        self._complex = ComparisonQueue(
            claimer,
            self._work_complex,
            at_once=asyncio.Semaphore(COMPLEX_AT_ONCE),
            most_bytes=COMPLEX_HELD_BYTES // store.shards,
            most_deferred=most_deferred,
        )

    def serve(self, targets: Sequence[str]) -> None:
        """From now on, claim pairs of these targets."""
        self._claimer.serve(targets)
        self._has_groups = False

    def stop(self) -> None:
        """Stop after the current batch; pairs without a claim remain in the store."""
        self._stopping = True

    async def run(self) -> None:
        """Work until stopped; then finish the claimed pairs, except deferred pairs that wait in the store."""
        queues = self._large, self._complex
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep_claims(), name="keep-claims")
            async with asyncio.TaskGroup() as pooled:
                feeding = [pooled.create_task(queue.feed(pooled), name="deferred-pairs") for queue in queues]
                await self._work_until_stopped(pooled)
                for task in feeding:
                    task.cancel()
            keeping.cancel()
        for queue in queues:
            await queue.leave(self._claim_idle_s)
        with contextlib.suppress(*STORE_ERRORS):
            await self._claimer.leave()

    async def _work_until_stopped(self, pooled: asyncio.TaskGroup) -> None:
        backoff = Backoff(RETRY_FIRST_S, RETRY_MOST_S)
        while not self._stopping:
            try:
                claims = await self._claim()
            except STORE_ERRORS as error:
                # The store might have restarted empty, without the consumer groups.
                self._has_groups = self._has_groups and not isinstance(error, ResponseError)
                log.warning("store unavailable; will retry claiming pairs", extra={"error": describe_error(error)})
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            is_full = len(claims) >= self._batch
            if claims:
                self._batch = max(1, min(BATCH, BATCH_BYTES // (1 + max(claim.stored_bytes for claim in claims))))
                await self._work(claims, pooled)
            if not is_full:  # needed even without claims, because an in-memory store might not block
                await asyncio.sleep(self._gather_s)

    async def _claim(self) -> list[Claim]:
        """Return a dead worker's pairs, else new pairs. Make one call at a time, so that a failure loses no claims."""
        if not self._has_groups:
            await self._claimer.open()
            self._has_groups = True
        if time.monotonic() >= self._reclaim_at:
            self._reclaim_at = time.monotonic() + self._claim_idle_s / 3
            if claims := await self._claimer.reclaim(self._batch, self._claim_idle_s):
                return claims
        return await self._claimer.read(self._batch, BLOCK_MS)

    async def _keep_claims(self) -> None:
        """Renew the claims of waiting pairs, so that no other worker takes them."""
        while True:
            await asyncio.sleep(self._claim_idle_s / 3)
            with contextlib.suppress(*STORE_ERRORS):
                await self._large.keep()
                await self._complex.keep()

    async def _work(self, claims: Sequence[Claim], pooled: asyncio.TaskGroup) -> None:
        """Compare and commit `claims`; send large pairs to the process pool without waiting for their results."""
        judgements: list[Judgement] = []
        large: list[Claim] = []
        too_complex: list[Claim] = []
        slice_ = _Slice()
        now_s = time.time()
        for claim in claims:
            if claim in self._large or claim in self._complex:
                continue  # this worker's own claim, claimed again after a long outage of the store
            if claim.stored_bytes > LARGE_BYTES:  # decoding the body would also take long
                large.append(claim)
                continue
            read = self._judge.read(claim)
            if isinstance(read, Judgement):
                judgements.append(read)
            elif is_large(read):
                large.append(claim)
            elif judgement := self._judge.compare(claim, read, now_s):
                judgements.append(judgement)
            else:
                too_complex.append(claim)
            await slice_.pause()
        refused = [*await self._large.add(large, pooled), *await self._complex.add(too_complex, pooled)]
        judgements += map(self._judge.refused, refused)
        if judgements:
            await self._finish(judgements)

    async def _work_large(self, claim: Claim) -> None:
        await self._finish([await self._compare_in_pool(claim, is_urgent=False)])

    async def _work_complex(self, claim: Claim) -> None:
        await self._finish([await self._compare_in_pool(claim, is_urgent=True)])

    async def _compare_in_pool(self, claim: Claim, *, is_urgent: bool) -> Judgement:
        """Decode a pair again, because waiting pairs are kept encoded, and compare it in the pool."""
        read = self._judge.read(claim)
        if isinstance(read, Judgement):
            return read
        rules = self._judge.rules_by_target.get(read.target)
        if rules is None:  # a reload has removed the target
            return self._judge.of_unknown_target(claim, read)
        job = Job(read, rules.rules, time.time(), rules.limits or self._limits, rules.messages)
        comparison = await self._pool.compare(job, is_urgent=is_urgent)
        against = control_pair(read)
        control = await self._pool.compare(job._replace(pair=against), is_urgent=is_urgent) if against else None
        return Judgement(claim, read, comparison, control)

    async def _judged(self, judgements: Sequence[Judgement]) -> list[Judged]:
        """Collect the writes of each pair; yield to the event loop in between, and do long work in a process."""
        now_ms, slice_ = time.time_ns() // 1_000_000, _Slice()
        batch: list[Judged] = []
        for judgement in judgements:
            for pattern in self._judge.patterns(judgement):
                self._judge.remember(pattern)
                await slice_.pause()
            judged, later = self._judge.judged(judgement, now_ms)
            if later:
                more = [write for one in later for write in await self._pool.writes(one, judgement.pair)]
                judged = replace(judged, writes=(*judged.writes, *more))
            batch.append(judged)
            await slice_.pause()
        return batch

    async def _finish(self, judgements: Sequence[Judgement]) -> None:
        """Commit a batch, retry until the store replies, and count the pairs that this worker committed."""
        batch = await self._judged(judgements)
        backoff = Backoff(RETRY_FIRST_S, RETRY_MOST_S)
        while True:
            try:
                acknowledged = await commit(self._store, self._shard, batch)
                break
            except STORE_ERRORS as error:
                log.warning(
                    "store unavailable; will retry commit", extra={"error": describe_error(error), "pairs": len(batch)}
                )
                await asyncio.sleep(backoff.next_s())
        for judgement, is_ours in zip(judgements, acknowledged, strict=True):
            if is_ours:
                self._counters.add(judgement.pair, judgement.comparison, judgement.claim.delay_s)
                if self._trace is not None:
                    self._trace(judgement.pair, judgement.comparison, time.time_ns())
