"""Read a target's causes, their triage and their trend.

A process computes the causes of a target at most once in two seconds, off the event loop. If a cause is grouped in
another way than before, it keeps the state and the note that users gave it under its earlier ids.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model.store_reader import Fields, Whole
from shadowdiff.report.cause_tables import CauseTables, read_tables
from shadowdiff.report.cause_writes import history_key, set_bucket_key
from shadowdiff.report.causes import CauseCounts, CauseTotals, aliases_of, causes_of
from shadowdiff.report.change import set_id
from shadowdiff.report.fingerprint_query import BUCKETS, Span, Trend
from shadowdiff.report.triage import NO_TRIAGE, State, Triage, read_triage
from shadowdiff.store import reading, size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shadowdiff.model.store_reader import StoreReader

FRESH_MS: Final = 2000
_TREND_SETS: Final = 100
"""A trend counts the most frequent sets of a cause."""
_MOST_TARGETS: Final = 64


class CausesOfRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The causes of some runs of a target, the tables that they are computed from, and when these were read."""

    tables: CauseTables
    totals: CauseTotals
    read_ms: int


class CauseReader:
    """Reads the causes of all targets. Methods raise redis.exceptions.RedisError and UnreadableError."""

    def __init__(self, reader: StoreReader, now_ms: Callable[[], int]) -> None:
        self._reader = reader
        self._now_ms = now_ms
        self._known: dict[tuple[str, tuple[int, ...]], CausesOfRuns] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def read(self, target: str, run_ids: Sequence[int], fold: Callable[[str], str] = str) -> CausesOfRuns:
        """Return the causes of these runs together; they may be two seconds old."""
        name = (target, tuple(run_ids))
        async with self._reading.setdefault(target, asyncio.Lock()):
            found = self._known.get(name)
            if found is None or not 0 <= self._now_ms() - found.read_ms < FRESH_MS:
                tables = await read_tables(self._reader, target, run_ids, fold)
                totals = await asyncio.to_thread(causes_of, tables)
                found = CausesOfRuns(tables=tables, totals=totals, read_ms=self._now_ms())
                self._known.pop(name, None)
                while len(self._known) >= _MOST_TARGETS:
                    del self._known[next(iter(self._known))]
                self._known[name] = found
        return found

    async def triage(self, target: str) -> dict[str, Triage]:
        """Return the states and notes of a target's causes by id."""
        shards = await self._reader.read([Whole(history_key(target, part)) for part in ("states", "notes")])
        return read_triage(shards[0][0], shards[0][1])

    async def trends(self, target: str, causes: Sequence[CauseCounts], span: Span) -> list[Trend]:
        """Return the counts of each cause over time."""
        step_ms, steps = BUCKETS[span]
        start_ms = (self._now_ms() // step_ms - steps + 1) * step_ms
        sets = [[set_id(field) for field in one.sets[:_TREND_SETS]] for one in causes]
        names = list(dict.fromkeys(name for some in sets for name in some))
        if not names:
            return [Trend(step_ms=step_ms, start_ms=start_ms, counts=(0,) * steps) for _ in causes]
        reads = [Fields(set_bucket_key(target, step_ms, start_ms + step * step_ms), names) for step in range(steps)]
        shards = await self._reader.read(reads)
        with reading(f"the trend of {target}"):
            totals = [
                dict(zip(names, (sum(size(one or 0) for one in values) for values in columns), strict=True))
                for columns in (zip(*(shard[step] for shard in shards), strict=True) for step in range(steps))
            ]
        return [
            Trend(step_ms=step_ms, start_ms=start_ms, counts=tuple(sum(row[name] for name in some) for row in totals))
            for some in sets
        ]


def triage_of(found: CausesOfRuns, one: CauseCounts, triage: Mapping[str, Triage]) -> tuple[Triage, State, int | None]:
    """Return a cause's triage, its state, and when it was reopened; all may come from an id that it had before.

    A fixed cause is open again if it was seen after that. An older id counts only if this cause existed at that time.
    """
    own = triage.get(one.id)
    if own is None and triage:
        aliases = aliases_of(found.tables, one.group)
        older = [triage[name] for name in sorted(aliases & triage.keys())]
        own = next((some for some in older if _changed_ms(some) >= one.first_seen_ms), None)
    own = own or NO_TRIAGE
    stated = own.stated
    if stated is None:
        return own, State.OPEN, None
    if stated.state is State.FIXED and one.last_seen_ms > stated.at_ms:
        return own, State.OPEN, one.last_seen_ms
    return own, stated.state, None


def _changed_ms(one: Triage) -> int:
    return max(part.at_ms if part else 0 for part in (one.stated, one.note))
