"""Bring one process's intake counts into the store's books, and say that the process lives.

In: a snapshot of cumulative counts by target and field (`mirrored.received`). Out: their growth, added once.
What is in flight is no growth: it is told as it stands, under the process's name, in the same atomic call.
So a row's sum holds at every instant, and what a dead process held in flight stays visible as `crashed`.
A store that came back empty is told everything anew: growth alone would leave its rows without their start.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from shadowdiff.pairing import names
from shadowdiff.store import said

if TYPE_CHECKING:
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S = 0.5
REMEMBERED_S = 86_400
FOLD_EVERY = 20
"""Turns between two looks for processes that ended long ago, and for how many are at work."""
DEAD_APART = 100
DEAD_AFTER_S = 5
"""A process says that it lives twice a second."""
LONG_DEAD_S = 3600
"""Much longer than a process can be stopped and come back: one that is folded must never tell again."""
IN_FLIGHT = "in_flight"
UNKNOWN_PROCESS = -1

Snapshot = Callable[[], Mapping[str, Mapping[str, int]]]
"""Cumulative counts by target and dotted field; fields that end in `.in_flight` are levels, not counts."""


@dataclass(slots=True)
class _Entry:
    """One call not yet answered: its number, and what it says."""

    number: int
    state: str
    grown: dict[str, dict[str, int]]


@dataclass(slots=True)
class BookKeeper:
    """One process's hand in the books."""

    store: Store
    process: str
    snapshot: Snapshot
    processes: int = 1
    """How many are at work on this store, this one included, as of some seconds ago."""
    _told: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    _unanswered: _Entry | None = None
    _is_known: bool = False
    _number: int = 0
    _left: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Tell the books until cancelled."""
        for turn in itertools.count():
            try:
                await self.tell()
                if turn % FOLD_EVERY == 0:
                    bounds = [DEAD_APART, LONG_DEAD_S, DEAD_AFTER_S]
                    self.processes = int(await self.store.run(names.FOLD, 0, [names.PROCESSES], bounds))
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("the books wait for the store", extra={"error": said(error)})
            await asyncio.sleep(EVERY_S)

    async def tell(self, *, leaving: bool = False) -> None:
        """Add what grew since the last call, exactly once.

        leaving: this process ends; cleanly, where nothing of it is in flight.
        Raises: redis.exceptions.RedisError; the same growth is then sent again, under the same number.
        """
        async with self._lock:
            if self._left:
                return
            if self._unanswered is not None:
                await self._send(self._unanswered)
            self._unanswered = self._entry(leaving=leaving)
            await self._send(self._unanswered)
            self._left = leaving

    def _entry(self, *, leaving: bool) -> _Entry:
        grown: dict[str, dict[str, int]] = {}
        levels: dict[str, dict[str, int]] = {}
        for target, counts in self.snapshot().items():
            told = self._told.setdefault(target, {})
            for name, count in counts.items():
                if name.endswith(IN_FLIGHT):
                    levels.setdefault(target, {})[name] = count
                elif count != told.get(name, 0):
                    grown.setdefault(target, {})[name] = count - told.get(name, 0)
                    told[name] = count
        self._number += 1
        left_nothing = leaving and not any(level for fields in levels.values() for level in fields.values())
        return _Entry(self._number, "" if left_nothing else json.dumps(levels, separators=(",", ":")), grown)

    async def _send(self, entry: _Entry) -> None:
        keys: list[str | bytes] = [names.last_entry(self.process), names.PROCESSES]
        keys += [names.ledger(target) for target in entry.grown]
        args: list[bytes | str | int] = [entry.number, REMEMBERED_S, self.process, entry.state, int(self._is_known)]
        for place, fields in enumerate(entry.grown.values(), start=1):
            for name, by in fields.items():
                args += (place, name, by)
        answer = await self.store.run(names.BOOKS, 0, keys, args)
        if answer == UNKNOWN_PROCESS:
            log.warning("the store came back without the books, which are told anew")
            self._told.clear()
            self._is_known = False
            self._unanswered = self._entry(leaving=not entry.state)
            await self._send(self._unanswered)
            return
        self._is_known = True
        self._unanswered = None
