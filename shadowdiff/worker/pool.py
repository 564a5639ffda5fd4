"""Compare large pairs in processes of their own, and kill those that take too long.

In a thread a pair of 10 MiB stalls the loop for a quarter of a second; a process stalls nobody, and can be
ended. Bounded: `workers` comparisons at once; who comes while all are busy waits for a turn.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, cast

from shadowdiff.compare import Limits, Messages, compare
from shadowdiff.rules import compile_rules
from shadowdiff.store import said
from shadowdiff.worker.collecting import COMPARING_EVERY, collect_seldom
from shadowdiff.worker.judge import incomparable, said_of

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from shadowdiff.model import Comparison, Pair
    from shadowdiff.rules import Rule

log = logging.getLogger(__name__)

LARGE_BYTES = 256 << 10
"""Bodies that together have more are compared here; below, a comparison ends within a few milliseconds."""
LARGE_ENCODED_BYTES = 32 << 10
"""The same for bodies under a Content-Encoding, which may hold many times as much."""
START_S = 30.0

_SPAWN = multiprocessing.get_context("spawn")


class Job(NamedTuple):
    """One comparison, as it goes to a process."""

    pair: Pair
    rules: tuple[Rule, ...]
    now_s: float
    limits: Limits
    messages: Messages | None = None


def is_large(pair: Pair) -> bool:
    """Return whether a pair is to be compared in a process of its own."""
    size = len(pair.primary.body) + len(pair.candidate.body)
    if size <= LARGE_ENCODED_BYTES:
        return False
    fields = (*pair.primary.headers, *pair.candidate.headers)
    return size > LARGE_BYTES or any(name == b"content-encoding" for name, _ in fields)


def _serve(link: Connection) -> None:
    """Compare what comes over `link` until it closes; runs in the process."""
    collect_seldom(COMPARING_EVERY)
    with suppress(EOFError, KeyboardInterrupt):
        link.send(None)
        while True:
            pair, rules, now_s, limits, messages = cast("Job", link.recv())
            link.send(compare(pair, compile_rules(rules, datetime.fromtimestamp(now_s, UTC)), limits, messages))


class _Comparer:
    """One process, started when first needed, replaced after it was killed."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._link: Connection

    def compare(self, job: Job, time_s: float) -> Comparison:
        """Return the comparison; blocks, so call it in a thread."""
        try:
            link = self._started()
            link.send(job)
            if link.poll(time_s):
                return cast("Comparison", link.recv())
        except (EOFError, OSError) as error:
            log.warning("a comparing process ended", extra={"error": said(error), **said_of(job.pair)})
            self.kill()
            return incomparable("comparison_crashed")
        log.warning("a comparison took too long", extra={"limit_s": time_s, **said_of(job.pair)})
        self.kill()
        return incomparable("comparison_timed_out")

    def _started(self) -> Connection:
        if self._process is None or not self._process.is_alive():
            ours, theirs = _SPAWN.Pipe()
            self._link = cast("Connection", ours)
            self._process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True, name="shadowdiff-compare")
            self._process.start()
            theirs.close()
            if not self._link.poll(START_S):
                raise EOFError("the comparing process did not start")
            self._link.recv()
        return self._link

    def kill(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._link.close()
            self._process = None


class ComparisonPool:
    """A few processes for large pairs."""

    def __init__(self, workers: int, time_s: float) -> None:
        self._time_s = time_s
        self._all = [_Comparer() for _ in range(workers)]
        self._comparers: asyncio.LifoQueue[_Comparer] = asyncio.LifoQueue()
        for comparer in self._all:
            self._comparers.put_nowait(comparer)

    async def compare(self, job: Job) -> Comparison:
        """Return the comparison, `incomparable` past its time."""
        comparer = await self._comparers.get()
        try:
            return await asyncio.to_thread(comparer.compare, job, self._time_s)
        finally:
            self._comparers.put_nowait(comparer)

    def close(self) -> None:
        """End every process."""
        for comparer in self._all:
            comparer.kill()
