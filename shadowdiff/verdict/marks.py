"""The ledger as it stood in each minute and hour, so that what grew in a window can be told exactly.

In: ledgers as they are read for the gauges, off the hot path.  Out: the ledger at either end of a window.
Holds: one mark a target and unit, the first that any process keeps; minutes live for six hours, hours for 35 days, as
the counts over time do. The difference of two ledgers that balance balances; a window's ends are the marks' own times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.store import Script, reading
from shadowdiff.verdict.buckets import Unit, unit_for
from shadowdiff.verdict.epochs import flat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.model.reader import StoreReader
    from shadowdiff.store import Store

_MARK: Final = Script.from_package("shadowdiff.verdict.lua", "mark.lua")
AT: Final = "at_ms"
_NEAR: Final = 15
"""Units after the start that are asked for first; a service that was down left a gap."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger's figures by dotted name, and when they stood so (Unix ms)."""

    at_ms: int
    counts: dict[str, int]


def _key(target: str, unit: Unit, number: int) -> str:
    return f"time:{target}:{unit}:{number}:ledger"


class LedgerMarks:
    """Keeps the marks of all targets, for one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, int] = {}

    async def keep(self, target: str, ledger: Mapping[str, Any], now_ms: int) -> None:
        """Keep a ledger, once a minute; raises redis.exceptions.RedisError."""
        minute = now_ms // Unit.MINUTE.ms
        if self._kept.get(target) == minute:
            return
        units = (Unit.MINUTE, Unit.HOUR)
        figures = {name: count for name, count in flat(ledger).items() if count} | {AT: now_ms}
        words: list[bytes | str | int] = [word for item in figures.items() for word in item]
        keys = [_key(target, unit, now_ms // unit.ms) for unit in units]
        await self._store.run(_MARK, 0, keys, [*(unit.life_s for unit in units), *words])
        self._kept[target] = minute


async def mark_after(reader: StoreReader, target: str, start_ms: int, end_ms: int, now_ms: int) -> Mark | None:
    """Return the first mark from the unit of `start_ms` on and before `end_ms`; None where none is kept."""
    unit = unit_for(start_ms, now_ms)
    numbers = range(start_ms // unit.ms, -(-end_ms // unit.ms))
    return await _first(reader, target, unit, numbers)


async def mark_before(reader: StoreReader, target: str, start_ms: int, end_ms: int, now_ms: int) -> Mark | None:
    """Return the last mark up to the unit of `end_ms` and after `start_ms`; None where none is kept."""
    unit = unit_for(start_ms, now_ms)
    numbers = range(start_ms // unit.ms, end_ms // unit.ms + 1)
    return await _first(reader, target, unit, numbers[::-1])


async def _first(reader: StoreReader, target: str, unit: Unit, numbers: Sequence[int]) -> Mark | None:
    """Return the first mark there is, in the order of the numbers."""
    for some in (numbers[:_NEAR], numbers[_NEAR:]):
        for counts in await reader.counts_of([_key(target, unit, number) for number in some]) if some else ():
            if counts:
                with reading(f"a mark of {target}"):
                    return Mark(at_ms=counts.pop(AT), counts=counts)
    return None
