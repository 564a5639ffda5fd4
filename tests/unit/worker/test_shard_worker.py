"""The worker dispatches pairs by their size, commits until the store replies, and shares its loop with the ports."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis.exceptions import ConnectionError as StoreDownError
from redis.exceptions import ResponseError

from shadowdiff.compare import Limits
from shadowdiff.model import Comparison, Observation, Pair, Result, Side
from shadowdiff.pairing.claim import Claim, Judged
from shadowdiff.store import Store, connect
from shadowdiff.worker import PairCounters, ShardWorker, shard_worker
from shadowdiff.worker.comparison_pool import LARGE_BYTES
from shadowdiff.worker.judge import Judgement
from shadowdiff.worker.shard_worker import FIRST_BATCH, SLICE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model import Later

BATCH = 5
SMALL, LARGE, COMPLEX, UNREADABLE = b"small", b"x" * (LARGE_BYTES + 1), b"complex", b"unreadable"


def pair(body: bytes) -> Pair:
    sides = [
        Observation(
            side=side, target="shop", id="", id_source="", method="GET", path="/", host="", status=200, body=body
        )
        for side in (Side.PRIMARY, Side.CANDIDATE)
    ]
    return Pair(key=b"k", target="shop", route="GET /", primary=sides[0], candidate=sides[1])


def claim(number: int, body: bytes) -> Claim:
    return Claim(0, "shop", b"%d-0" % number, b"k", body, b"", None, 0.0)


class ScriptedClaimer:
    """Yields batches of claims, or raises errors, as scripted."""

    def __init__(self, *batches: Sequence[Claim] | Exception) -> None:
        self.batches = list(batches)
        self.opened = 0
        self.left = False
        self.worker: ShardWorker | None = None

    async def open(self) -> None:
        """Create the consumer groups."""
        self.opened += 1

    async def reclaim(self, _most: int, _idle_s: float) -> list[Claim]:
        """Return no dead worker's pairs."""
        return []

    async def read(self, _most: int, _block_ms: int) -> Sequence[Claim]:
        """Return the next batch."""
        if not self.batches:
            assert self.worker is not None
            self.worker.stop()
            return []
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return batch

    async def keep(self, _entries: object) -> None:
        """Renew claims."""

    async def defer(self, *_arguments: object) -> None:
        """Leave claims."""

    async def leave(self) -> None:
        """Leave the consumer groups."""
        self.left = True


class ScriptedJudge:
    """Reads a claim's body as its script: what can be compared inline, and what cannot."""

    def __init__(self) -> None:
        rules: Any = type("Rules", (), {"rules": (), "limits": None, "messages": None})
        self.rules_by_target = {"shop": rules}

    def read(self, of: Claim) -> Pair | Judgement:
        """Return the pair of a claim."""
        read = pair(of.primary)
        if of.primary == UNREADABLE:
            return Judgement(of, read, Comparison(result=Result.INCOMPARABLE, reason="undecodable_observation"))
        return read

    def compare(self, of: Claim, read: Pair, _now_s: float) -> Judgement | None:
        """Return a match, or None if it is too complex."""
        return None if of.primary == COMPLEX else Judgement(of, read, Comparison(result=Result.MATCH))

    def refused(self, of: Claim) -> Judgement:
        """Return the result of a pair beyond every limit."""
        return Judgement(of, pair(of.primary), Comparison(result=Result.INCOMPARABLE, reason="too_many_waiting"))

    def patterns(self, _judgement: Judgement) -> tuple[str, ...]:
        """Return the path patterns of a pair."""
        return ()

    def judged(self, judgement: Judgement, _now_ms: int) -> tuple[Judged, list[Later]]:
        """Return the judgement with its writes."""
        return Judged(judgement.claim, ()), []


class ScriptedPool:
    """Compares without a process, and records its arguments."""

    def __init__(self, large_at_once: int = 4) -> None:
        self.jobs: list[tuple[int, bool]] = []
        self.large_turns = asyncio.Semaphore(large_at_once)
        self.running = self.most_running = 0

    async def compare(self, job: Any, *, is_urgent: bool) -> Comparison:
        """Return a mismatch, after other tasks have run."""
        self.jobs.append((len(job.pair.primary.body), is_urgent))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        return Comparison(result=Result.MISMATCH)


class Commits:
    """Replaces the commit script: fails as scripted, and acknowledges all entries but those of other workers."""

    def __init__(self, *errors: Exception, others: tuple[bytes, ...] = ()) -> None:
        self.errors = list(errors)
        self.others = others
        self.entries: list[bytes] = []

    async def __call__(self, _store: Store, _shard: int, batch: Sequence[Judged]) -> list[bool]:
        """Commit a batch."""
        if self.errors:
            raise self.errors.pop(0)
        self.entries += [judged.claim.entry for judged in batch]
        return [judged.claim.entry not in self.others for judged in batch]


async def run(claimer: ScriptedClaimer, commits: Commits, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ScriptedPool]:
    """Run a worker until it has no more claims; return the comparisons that it counted, and its pool."""
    monkeypatch.setattr(shard_worker, "commit", commits)
    monkeypatch.setattr(shard_worker, "RETRY_FIRST_S", 0.001)
    counters, pool = PairCounters(), ScriptedPool()
    worker = ShardWorker(
        store=Store(connect("redis://127.0.0.1:1/0")),
        shard=0,
        claimer=cast("Any", claimer),
        judge=cast("Any", ScriptedJudge()),
        pool=cast("Any", pool),
        limits=Limits(),
        counters=counters,
        claim_idle_s=15.0,
    )
    claimer.worker = worker
    async with asyncio.timeout(60):
        await worker.run()
    return {result: count for (_, _, result), count in counters.comparisons.items() if count}, pool


async def test_pairs_are_compared_in_a_process_that_fits_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pairs go unread to the pool. Complex ones follow as urgent after a try on the loop. All are committed."""
    bodies = (SMALL, LARGE, COMPLEX, UNREADABLE)
    claims = [claim(number, body) for number, body in enumerate(bodies)]
    commits = Commits()
    counted, pool = await run(ScriptedClaimer(claims), commits, monkeypatch)
    assert {Result.MATCH: 1, Result.INCOMPARABLE: 1, Result.MISMATCH: 2} == counted
    assert [(len(COMPLEX), True), (len(LARGE), False)] == sorted(pool.jobs)
    assert sorted(one.entry for one in claims) == sorted(commits.entries)


async def test_a_commit_is_retried_until_the_store_replies(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No pair is lost or counted twice."""
    commits = Commits(StoreDownError(), TimeoutError(), OSError())
    counted, _ = await run(ScriptedClaimer([claim(1, SMALL), claim(2, SMALL)]), commits, monkeypatch)
    assert ({Result.MATCH: 2}, [b"1-0", b"2-0"]) == (counted, commits.entries)
    assert ["store unavailable; will retry commit"] * 3 == [record.getMessage() for record in caplog.records]


async def test_a_pair_that_another_worker_committed_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit script acknowledges each entry once."""
    claimer = ScriptedClaimer([claim(1, SMALL), claim(2, SMALL)])
    counted, _ = await run(claimer, Commits(others=(b"1-0",)), monkeypatch)
    assert {Result.MATCH: 1} == counted
    assert claimer.left


async def test_claiming_is_retried_and_opens_the_groups_of_an_empty_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that restarted empty has lost its consumer groups; one that was only unreachable has not."""
    claimer = ScriptedClaimer(StoreDownError(), [claim(1, SMALL)], ResponseError("NOGROUP"), [claim(2, SMALL)])
    counted, _ = await run(claimer, Commits(), monkeypatch)
    assert ({Result.MATCH: 2}, 2) == (counted, claimer.opened)


class BacklogClaimer(ScriptedClaimer):
    """Has a backlog, yields the requested number of claims, and records the size of each batch."""

    def __init__(self, *bodies: bytes) -> None:
        super().__init__()
        self.backlog = [claim(number, body) for number, body in enumerate(bodies)]
        self.sizes: list[int] = []

    async def read(self, most: int, block_ms: int) -> Sequence[Claim]:
        """Return the next claims of the backlog."""
        self.batches = [self.backlog[:most]] if self.backlog else []
        self.backlog = self.backlog[most:]
        self.sizes += [len(batch) for batch in self.batches if not isinstance(batch, Exception)]
        return await super().read(most, block_ms)


async def test_a_batch_of_small_pairs_grows_to_its_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is small, because no size is known yet."""
    claimer = BacklogClaimer(*[SMALL] * 200)
    await run(claimer, Commits(), monkeypatch)
    assert [FIRST_BATCH, shard_worker.BATCH, 200 - FIRST_BATCH - shard_worker.BATCH] == claimer.sizes


async def test_a_batch_of_large_pairs_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog of large pairs is read in small batches, at least one pair each, and every pair is committed."""
    monkeypatch.setattr(shard_worker, "BATCH_BYTES", 3 * len(LARGE))
    claimer, commits = BacklogClaimer(*[LARGE] * 20, *[SMALL] * 2, LARGE), Commits()
    counted, pool = await run(claimer, commits, monkeypatch)
    assert [FIRST_BATCH, *[2] * 6, 2, 1] == claimer.sizes
    assert ({Result.MISMATCH: 21, Result.MATCH: 2}, 21, 4) == (counted, len(pool.jobs), pool.most_running)


class SlowJudge:
    """Takes longer than a slice to gather the writes of each pair, as large samples do."""

    def patterns(self, _judgement: int) -> tuple[str, ...]:
        """Return the path patterns of a pair."""
        return ()

    def judged(self, judgement: int, _now_ms: int) -> tuple[int, list[Later]]:
        """Return the judgement with its writes."""
        time.sleep(SLICE_S * 1.5)
        return judgement, []


class SlowPatterns:
    """Takes longer than a slice for each path pattern, as names full of encoded text do."""

    def patterns(self, judgement: int) -> tuple[str, ...]:
        """Return the path patterns of a pair."""
        return tuple(f"$['{judgement}{number}']" for number in range(BATCH))

    def remember(self, _pattern: str) -> None:
        """Remove secrets, slowly."""
        time.sleep(SLICE_S * 1.5)

    def judged(self, judgement: int, _now_ms: int) -> tuple[int, list[Later]]:
        """Return the judgement with its writes."""
        return judgement, []


@pytest.mark.parametrize(("judge", "pairs"), [(SlowJudge(), BATCH), (SlowPatterns(), 1)])
async def test_other_tasks_run_between_slow_steps(judge: Any, pairs: int) -> None:
    """The worker yields after each slow sample and each slow pattern, and keeps the order of pairs."""
    nothing: Any = None
    worker = ShardWorker(
        store=Store(connect("redis://127.0.0.1:1/0")),
        shard=0,
        claimer=nothing,
        judge=judge,
        pool=cast("Any", ScriptedPool()),
        limits=Limits(),
        counters=nothing,
        claim_idle_s=1.0,
    )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(others())
        judged = await worker._judged(cast("Any", range(pairs)))  # pyright: ignore[reportPrivateUsage]
        waiting.cancel()
    assert list(range(pairs)) == cast("Any", judged)
    assert turns >= BATCH - 1
