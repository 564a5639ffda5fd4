"""The worker of one shard: claim, judge, commit, again.

Holds: a pair is counted here only where its commit answered 1; while the store is away the same batch is
committed again until it answers; the loop is given back at least every few milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from shadowdiff.pairing import commit
from shadowdiff.store import said
from shadowdiff.worker.judge import Judgement, with_control
from shadowdiff.worker.pool import Job, is_large

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.compare import Limits
    from shadowdiff.model import Comparison, Pair
    from shadowdiff.pairing import Claim, Claimer, Judged
    from shadowdiff.store import Store
    from shadowdiff.worker.judge import Judge
    from shadowdiff.worker.pool import ComparisonPool
    from shadowdiff.worker.tally import Tally

    Trace = Callable[[Pair, Comparison, int], None]

log = logging.getLogger(__name__)

BATCH = 128
BLOCK_MS = 1000
GATHER_S = 0.05
"""Between two reads, so that batches grow: a call costs as much as half a pair, and with several processes each sees
less. Nothing waits for it but the figures."""
SLICE_S = 0.004
"""The longest that judging keeps the loop from everybody else."""
LARGE_AT_ONCE = 8
"""Large pairs that are decoded and at the pool."""
LARGE_HELD_BYTES = 64 << 20
"""Of large pairs, as stored, that wait for the pool; past it the worker takes nothing new."""
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 1.0


def _stored_bytes(claim: Claim) -> int:
    return len(claim.primary) + len(claim.candidate) + len(claim.control or b"")


class Worker:
    """Takes one shard's ready pairs to their results."""

    def __init__(
        self,
        *,
        store: Store,
        shard: int,
        claimer: Claimer,
        judge: Judge,
        pool: ComparisonPool,
        limits: Limits,
        tally: Tally,
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
        self._tally = tally
        self._claim_idle_s = claim_idle_s
        self._gather_s = GATHER_S * store.patience
        self._stopping = False
        self._opened = False
        self._reclaim_at = 0.0
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._apart: dict[tuple[str, bytes], Claim] = {}
        self._apart_bytes = 0
        self._room = asyncio.Event()

    def serve(self, targets: Sequence[str]) -> None:
        """Take other targets from the next claim on."""
        self._claimer.serve(targets)
        self._opened = False

    def stop(self) -> None:
        """End after the batch at hand; what is not yet claimed stays in the store."""
        self._stopping = True

    async def run(self) -> None:
        """Work until stopped; what was claimed by then is finished."""
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep_claims(), name="keep-claims")
            async with asyncio.TaskGroup() as apart:
                await self._work_until_stopped(apart)
            keeping.cancel()
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await self._claimer.leave()

    async def _work_until_stopped(self, apart: asyncio.TaskGroup) -> None:
        wait_s = RETRY_FIRST_S
        while not self._stopping:
            try:
                claims = await self._claim()
            except (RedisError, OSError, TimeoutError) as error:
                # The store may have come back empty, without our groups.
                self._opened = self._opened and not isinstance(error, ResponseError)
                log.warning("claiming waits for the store", extra={"error": said(error)})
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MOST_S)
                continue
            wait_s = RETRY_FIRST_S
            if claims:
                await self._work(claims, apart)
            if len(claims) < BATCH:  # where nothing came, too: a store in memory may not block
                await asyncio.sleep(self._gather_s)

    async def _claim(self) -> list[Claim]:
        """Return what a dead worker left, else what is new: one claim at a time, so that no failure drops another."""
        if not self._opened:
            await self._claimer.open()
            self._opened = True
        if time.monotonic() >= self._reclaim_at:
            self._reclaim_at = time.monotonic() + self._claim_idle_s / 3
            if claims := await self._claimer.reclaim(BATCH, self._claim_idle_s):
                return claims
        return await self._claimer.read(BATCH, BLOCK_MS)

    async def _keep_claims(self) -> None:
        """Tell the store that large pairs are still at work, so that they are no dead worker's, and never poison."""
        while True:
            await asyncio.sleep(self._claim_idle_s / 3)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await self._claimer.keep(tuple(self._apart.values()))

    async def _work(self, claims: Sequence[Claim], apart: asyncio.TaskGroup) -> None:
        """Judge and commit `claims`; large pairs go their own way, so that small ones never wait for them."""
        judgements: list[Judgement] = []
        large: list[Claim] = []
        give_back_at = time.monotonic() + SLICE_S
        now_s = time.time()
        for claim in claims:
            if (claim.target, claim.entry) in self._apart:
                continue  # our own, claimed anew after the store was away for long
            read = self._judge.read(claim)
            if isinstance(read, Judgement):
                judgements.append(read)
            elif is_large(read):
                large.append(claim)
            else:
                judgements.append(self._judge.compare(claim, read, now_s))
            if time.monotonic() > give_back_at:
                await asyncio.sleep(0)
                give_back_at = time.monotonic() + SLICE_S
        self._apart |= {(claim.target, claim.entry): claim for claim in large}
        if judgements:
            await self._finish(judgements)
        for claim in large:
            await self._set_apart(claim, apart)

    async def _set_apart(self, claim: Claim, apart: asyncio.TaskGroup) -> None:
        """Start a large pair on its own way, as soon as there is memory for it to wait in."""
        while self._apart_bytes >= LARGE_HELD_BYTES:
            self._room.clear()
            await self._room.wait()
        self._apart_bytes += _stored_bytes(claim)
        apart.create_task(self._work_apart(claim), name="large-pair")

    async def _work_apart(self, claim: Claim) -> None:
        try:
            async with self._large:
                await self._finish([await self._compare_apart(claim)])
        finally:
            del self._apart[claim.target, claim.entry]
            self._apart_bytes -= _stored_bytes(claim)
            self._room.set()

    async def _compare_apart(self, claim: Claim) -> Judgement:
        """Read a pair anew, since those that wait rest in their stored form, and compare it in the pool."""
        read = self._judge.read(claim)
        if isinstance(read, Judgement):
            return read
        now_s = time.time()
        lens = self._judge.lenses.get(read.target)
        if lens is None:  # a reload removed the target meanwhile
            return self._judge.compare(claim, read, now_s)
        job = Job(read, lens.rules, now_s, self._limits, lens.messages)
        comparison = await self._pool.compare(job)
        against = with_control(read)
        control = await self._pool.compare(job._replace(pair=against)) if against else None
        return Judgement(claim, read, comparison, control)

    async def _judged(self, judgements: Sequence[Judgement]) -> list[Judged]:
        """Gather what is to be stored with each; a sample takes milliseconds, so the loop is given back meanwhile."""
        now_ms, give_back_at = time.time_ns() // 1_000_000, time.monotonic() + SLICE_S
        batch: list[Judged] = []
        for judgement in judgements:
            batch.append(self._judge.judged(judgement, now_ms))
            if time.monotonic() > give_back_at:
                await asyncio.sleep(0)
                give_back_at = time.monotonic() + SLICE_S
        return batch

    async def _finish(self, judgements: Sequence[Judgement]) -> None:
        """Commit a batch, however often the store must be asked, and count what was ours."""
        batch = await self._judged(judgements)
        wait_s = RETRY_FIRST_S
        while True:
            try:
                mine = await commit(self._store, self._shard, batch)
                break
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("committing waits for the store", extra={"error": said(error), "pairs": len(batch)})
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MOST_S)
        for judgement, acknowledged in zip(judgements, mine, strict=True):
            if acknowledged:
                self._tally.add(judgement.pair, judgement.comparison, judgement.claim.delay_s)
                if self._trace is not None:
                    self._trace(judgement.pair, judgement.comparison, time.time_ns())
