"""Keep pairs for the comparison processes in memory, up to a size limit, while their worker claims other pairs.

A pair over the limit is deferred: this worker keeps the pair's claim and id, and reads the pair again when there is
room. No pair is lost, and `add` never waits for a comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from redis.exceptions import ResponseError

from shadowdiff.store import STORE_ERRORS, describe_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shadowdiff.pairing.claim import Claim, Claimer, EntryRef

log = logging.getLogger(__name__)

READ_AT_ONCE: Final = 32
RETRY_S: Final = 0.5


class _Deferred(NamedTuple):
    """A pair that waits in the store."""

    stored_bytes: int
    deliveries: int


class ComparisonQueue:
    """The pairs that one worker sends to the comparison processes.

    work: compares and commits one pair. at_once: limit of concurrent pairs. most_bytes: limit of the stored size of the
    pairs in memory. most_deferred: limit of the pairs that wait in the store.
    """

    def __init__(
        self,
        claimer: Claimer,
        work: Callable[[Claim], Awaitable[None]],
        *,
        at_once: asyncio.Semaphore,
        most_bytes: int,
        most_deferred: int,
    ) -> None:
        self._claimer = claimer
        self._work = work
        self._at_once = at_once
        self._most_bytes = most_bytes
        self._most_deferred = most_deferred
        self._held: dict[EntryRef, Claim] = {}
        self._deferred: dict[EntryRef, _Deferred] = {}
        self._has_room_again = asyncio.Event()
        self.held_bytes = 0

    def __contains__(self, claim: Claim) -> bool:
        """Return whether a pair waits in this queue or is being compared."""
        return claim.ref in self._held or claim.ref in self._deferred

    @property
    def deferred(self) -> int:
        """The number of pairs that wait in the store."""
        return len(self._deferred)

    async def add(self, claims: Sequence[Claim], group: asyncio.TaskGroup) -> list[Claim]:
        """Accept pairs, and start comparisons while there is room. Return the pairs that exceed both limits."""
        refused: list[Claim] = []
        deferred: dict[EntryRef, int] = {}
        for claim in claims:
            if not self._deferred and self._has_room(claim.stored_bytes):
                self._start(claim, group)
            elif len(self._deferred) < self._most_deferred:
                self._deferred[claim.ref] = _Deferred(claim.stored_bytes, claim.deliveries)
                deferred[claim.ref] = claim.deliveries
            else:
                refused.append(claim)
        if deferred:
            await self._defer(deferred)
            self._has_room_again.set()
        return refused

    async def feed(self, group: asyncio.TaskGroup) -> None:
        """Read deferred pairs again whenever there is room."""
        while True:
            await self._has_room_again.wait()
            self._has_room_again.clear()
            while next_pairs := self._next():
                try:
                    claims = await self._claimer.read_deferred(next_pairs)
                except ResponseError as error:
                    if "NOGROUP" not in str(error):
                        await self._retry(error)
                        continue
                    claims = []  # the store restarted empty, so there is nothing to read
                except STORE_ERRORS as error:
                    await self._retry(error)
                    continue
                for entry in next_pairs:
                    del self._deferred[entry]
                for claim in claims:
                    self._start(claim, group)

    async def keep(self) -> None:
        """Renew the claims of all pairs in this queue."""
        await self._claimer.keep((*self._held, *self._deferred))

    async def leave(self, idle_s: float) -> None:
        """Leave deferred pairs to other workers, which claim them when their claims have been idle for `idle_s`."""
        deferred = {entry: one.deliveries for entry, one in self._deferred.items()}
        with contextlib.suppress(*STORE_ERRORS):
            await self._claimer.defer(deferred, idle_s)

    def _has_room(self, stored_bytes: int) -> bool:
        return not self.held_bytes or self.held_bytes + stored_bytes <= self._most_bytes

    def _next(self) -> dict[EntryRef, int]:
        """Return the oldest deferred pairs for which there is room, with their delivery counts."""
        next_pairs: dict[EntryRef, int] = {}
        size = self.held_bytes
        for entry, one in self._deferred.items():
            if len(next_pairs) == READ_AT_ONCE or (size and size + one.stored_bytes > self._most_bytes):
                break
            size += one.stored_bytes
            next_pairs[entry] = one.deliveries
        return next_pairs

    def _start(self, claim: Claim, group: asyncio.TaskGroup) -> None:
        self._held[claim.ref] = claim
        self.held_bytes += claim.stored_bytes
        group.create_task(self._finish(claim), name="pooled-pair")

    async def _finish(self, claim: Claim) -> None:
        try:
            async with self._at_once:
                await self._work(claim)
        finally:
            del self._held[claim.ref]
            self.held_bytes -= claim.stored_bytes
            self._has_room_again.set()

    async def _defer(self, deferred: Mapping[EntryRef, int]) -> None:
        try:
            await self._claimer.defer(deferred)
        except STORE_ERRORS as error:  # this worker keeps the claims anyway, and its own counts are right
            log.debug(
                "store unavailable; delivery counts of deferred pairs in Redis may be one too high",
                extra={"error": describe_error(error)},
            )

    async def _retry(self, error: Exception) -> None:
        log.warning("store unavailable; will retry reading deferred pairs", extra={"error": describe_error(error)})
        await asyncio.sleep(RETRY_S)
