"""Compare large and complex pairs in separate processes, and kill processes that take too long.

On the event loop, a pair of 10 MiB would block all other work for a quarter of a second.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.work import TOO_COMPLEX
from shadowdiff.rules import compile_rules
from shadowdiff.store import describe_error
from shadowdiff.worker.judge import incomparable, pair_log_fields
from shadowdiff.worker.process_pool import ProcessPool

if TYPE_CHECKING:
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.model import Comparison, Later, Pair, Write
    from shadowdiff.rules import Rule

log = logging.getLogger(__name__)

LARGE_BYTES = 256 << 10
"""Pairs whose bodies are larger than this together are compared in the pool at once."""
LARGE_ENCODED_BYTES = 32 << 10
"""The same limit for bodies with a Content-Encoding, which may be many times as large after decoding."""
IDLE_S = 60.0
"""The process that makes samples ends after this time without work."""


class Job(NamedTuple):
    """One comparison, in the form that a process receives."""

    pair: Pair
    rules: tuple[Rule, ...]
    now_s: float
    limits: Limits
    messages: Descriptors | None = None


def is_large(pair: Pair) -> bool:
    """Return whether a pair is so large that a process must compare it."""
    size = len(pair.primary.body) + len(pair.candidate.body)
    if size <= LARGE_ENCODED_BYTES:
        return False
    fields = (*pair.primary.headers, *pair.candidate.headers)
    return size > LARGE_BYTES or any(name == b"content-encoding" for name, _ in fields)


def _compared(job: Job) -> Comparison:
    """Compare one pair. Rules are compiled separately for the pair, so that equal pairs always cost the same work."""
    pair, rules, now_s, limits, messages = job
    try:
        return compare(pair, compile_rules(rules, datetime.fromtimestamp(now_s, UTC)), limits, messages)
    except MemoryError:
        return incomparable(TOO_COMPLEX)


class ComparisonPool:
    """A few processes that compare pairs; urgent pairs are compared before other waiting pairs.

    large_turns: limits the decoded large pairs of all shards (in a process, next in turn, or in a commit).
    """

    def __init__(self, workers: int, time_s: float) -> None:
        self.large_turns = asyncio.Semaphore(2 * workers)
        self._time_s = time_s
        self._comparing = ProcessPool(workers, "shadowdiff-compare")
        self._sampling = ProcessPool(1, "shadowdiff-sample", idle_s=IDLE_S)

    async def compare(self, job: Job, *, is_urgent: bool = False) -> Comparison:
        """Return the comparison; `incomparable` if it takes too long or fails."""
        try:
            return await self._comparing.run(self._time_s, _compared, job, is_urgent=is_urgent)
        except TimeoutError:
            log.warning("comparison timed out", extra={"limit_s": self._time_s, **pair_log_fields(job.pair)})
            return incomparable("comparison_timed_out")
        except (EOFError, OSError) as error:
            log.warning("comparing process exited", extra={"error": describe_error(error), **pair_log_fields(job.pair)})
            return incomparable("comparison_crashed")
        except Exception:  # outermost handler: a failed pair must not stop other pairs
            log.exception("comparison failed", extra=pair_log_fields(job.pair))
            return incomparable("comparison_failed")

    async def writes(self, later: Later, pair: Pair) -> tuple[Write, ...]:
        """Create the writes that take long, or none if this fails. Comparisons never wait for these writes."""
        try:
            return later.writes(await self._sampling.run(self._time_s, later.function, *later.arguments))
        except Exception as error:  # noqa: BLE001 - a pair is counted without its sample
            text = describe_error(error) if isinstance(error, OSError | EOFError) else type(error).__name__
            extra = {"error": text, **pair_log_fields(pair)}
            log.warning("sample not created; pair counted without a sample", extra=extra)
            return ()

    def close(self) -> None:
        """End every process."""
        self._comparing.close()
        self._sampling.close()
