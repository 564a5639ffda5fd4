"""Compute how a ledger grows: coverage since a run started, and snapshots for any window.

Coverage is the share of v1's requests that were compared. If v1's response to a mirrored request is never recorded, the
request counts as not compared, so a recorder that does not run lowers the coverage. Snapshots per minute are kept for
six hours, and snapshots per hour for 35 days; a window begins and ends at snapshots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.store import Script, reading
from shadowdiff.verdict.decide import percent
from shadowdiff.verdict.history import Unit, unit_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.model.store_reader import StoreReader
    from shadowdiff.store import Store

_KEEP: Final = Script.from_package("shadowdiff.verdict.lua", "keep_snapshot.lua")
_AT: Final = "at_ms"
_NEAR: Final = 15
"""How many minutes or hours after the start are read first. There may be a gap, because the service was down."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The share of v1's requests that were compared.

    eligible: v1's responses whose outcome is known, including unrecorded responses. unrecorded: responses that were
    never recorded although their requests were mirrored. ratio: compared divided by eligible.
    """

    eligible: int
    compared: int
    ratio: float
    unrecorded: int = 0
    mirrored: int = 0


def coverage_since(ledger: Mapping[str, Any], started: Mapping[str, int] | None = None) -> Coverage:
    """Return the coverage since the ledger had the counts `started`; None means all time."""
    now, then = flat(ledger), started or {}
    names = ("coverage.eligible", "coverage.compared", "observations.candidate.orphaned", "mirrored.forwarded")
    eligible, compared, unrecorded, mirrored = (max(0, now.get(name, 0) - then.get(name, 0)) for name in names)
    ratio = round(min(1.0, compared / eligible), 6) if eligible else 0.0
    return Coverage(eligible=eligible, compared=compared, ratio=ratio, unrecorded=unrecorded, mirrored=mirrored)


def low_coverage(coverage: Coverage, minimum: float, pairs: int = 0) -> str | None:
    """Return why the coverage is too low for a pass; None if it is high enough or there was no traffic yet.

    pairs: the run's pairs, including those that coverage does not count, whose responses were recorded.
    """
    recorded = coverage.eligible - coverage.unrecorded
    if recorded <= 0 and coverage.mirrored and not pairs:
        requests = f"{coverage.mirrored:,} mirrored {'request' if coverage.mirrored == 1 else 'requests'}"
        return f"Coverage is 0 %: no response of v1 to {requests} was recorded. Is the recorder on?"
    if not coverage.eligible or coverage.ratio >= minimum:
        return None
    lost = ((recorded - coverage.compared, "compared"), (coverage.unrecorded, "recorded"))
    why = ", ".join(f"{count:,} of v1's responses were not {what}" for count, what in lost if count > 0)
    return f"Coverage is {percent(coverage.ratio)}, minimum {percent(minimum)}: {why}."


def flat(ledger: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    """Return the integers of a ledger by dotted name."""
    found: dict[str, int] = {}
    for name, value in ledger.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(value, int) and not isinstance(value, bool):
            found[prefix + name] = value
    return found


class LedgerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger's counts by dotted name, and their time (Unix ms)."""

    at_ms: int
    counts: dict[str, int]


class LedgerSnapshots:
    """Stores ledger snapshots of all targets, for one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, int] = {}

    async def keep(self, target: str, ledger: Mapping[str, Any], now_ms: int) -> None:
        """Store a ledger snapshot, at most one per minute. Raises: redis.exceptions.RedisError."""
        minute = now_ms // Unit.MINUTE.ms
        if self._kept.get(target) == minute:
            return
        counts = {name: count for name, count in flat(ledger).items() if count} | {_AT: now_ms}
        words: list[bytes | str | int] = [word for item in counts.items() for word in item]
        keys = [_key(target, unit, now_ms // unit.ms) for unit in Unit]
        await self._store.run(_KEEP, 0, keys, [*(unit.life_s for unit in Unit), *words])
        self._kept[target] = minute


async def read_snapshots(
    reader: StoreReader, target: str, start_ms: int, end_ms: int, now_ms: int
) -> tuple[LedgerSnapshot, LedgerSnapshot | None] | None:
    """Return the first and last snapshots of a window, or None; a window begins at a whole minute or hour."""
    unit = unit_for(start_ms, now_ms)
    first = await _first(reader, target, unit, range(start_ms // unit.ms, -(-end_ms // unit.ms)))
    numbers = range(start_ms // unit.ms, end_ms // unit.ms + 1)
    return None if first is None else (first, await _first(reader, target, unit, numbers[::-1]))


async def _first(reader: StoreReader, target: str, unit: Unit, numbers: Sequence[int]) -> LedgerSnapshot | None:
    for some in (numbers[:_NEAR], numbers[_NEAR:]):
        for counts in await reader.counts_of([_key(target, unit, number) for number in some]) if some else ():
            if counts:
                with reading(f"a ledger snapshot of {target}"):
                    return LedgerSnapshot(at_ms=counts.pop(_AT), counts=counts)
    return None


def _key(target: str, unit: Unit, number: int) -> str:
    return f"time:{target}:{unit}:{number}:ledger"
