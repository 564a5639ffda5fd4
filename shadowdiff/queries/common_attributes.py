"""What the pairs of a cause have in common, from the sampled pairs of the current run."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shadowdiff.report.attribute_sample import read_sample
from shadowdiff.report.common_attributes import AttributeTable, Common

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from shadowdiff.queries.targets import Queries

_FRESH_MS: Final = 10_000
_MOST_TABLES: Final = 8
"""Targets whose samples a process keeps in memory. A full sample takes a few MiB."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A sample, when it was read, and what was computed from it."""

    at_ms: int
    table: AttributeTable
    known: dict[tuple[frozenset[str], frozenset[str]], Common] = field(
        default_factory=dict[tuple[frozenset[str], frozenset[str]], Common]
    )


class AttributeTables:
    """The samples of targets that were read in the last seconds, and what was computed from them."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[str, int], _Read] = OrderedDict()
        self._reading = asyncio.Lock()

    async def common(
        self, queries: Queries, target: str, run: int, changes: Collection[str], places: Iterable[str]
    ) -> Common:
        """Return what the pairs of a run with one of these changes have in common."""
        async with self._reading:
            read = await self._read(queries, target, run)
        name = frozenset(changes), frozenset(places)
        found = read.known.get(name)
        if found is None:
            found = read.known[name] = await asyncio.to_thread(read.table.common, *name)
        return found

    async def _read(self, queries: Queries, target: str, run: int) -> _Read:
        now_ms = queries.now_ms()
        found = self._tables.get((target, run))
        if found is None or now_ms - found.at_ms >= _FRESH_MS:
            parts = await read_sample(queries.reader, target, run, now_ms, queries.sample_ttl_s)
            found = _Read(now_ms, await asyncio.to_thread(AttributeTable, parts))
            self._tables[target, run] = found
        self._tables.move_to_end((target, run))
        while len(self._tables) > _MOST_TABLES:
            self._tables.popitem(last=False)
        return found


async def common_of(queries: Queries, target: str, changes: Collection[str], places: Iterable[str] = ()) -> Common:
    """Return what the pairs of the current run with one of these changes have in common.

    changes: ids of the changes of a cause.  places: their path patterns; values there are no attributes.
    The result may be ten seconds old. Raises: RequestError if the target is unknown.
    """
    name = queries.target(target).target.name
    run = await queries.runs.current(name) if queries.runs else None
    if run is None:
        return Common()
    return await queries.attribute_tables.common(queries, name, run.id, changes, places)
