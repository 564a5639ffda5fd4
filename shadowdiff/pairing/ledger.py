"""The ledger counts every request and observation of a target, and states whether the counts balance.

Each process adds the growth of its counters exactly once. The number of requests in flight is a level, not a count: the
same atomic call stores its current value under the process's name. Each row therefore balances at every instant, and a
dead process's requests in flight remain visible as `crashed`. A store that restarts empty gets all counts again. Each
shard is read at one instant. `waiting` and `pending` are counted in the store's own structures, never computed by
subtraction. If another program removes an observation, `balanced` therefore becomes false.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict, cast

import msgspec

from shadowdiff.model import Result, Side
from shadowdiff.pairing import names
from shadowdiff.store import STORE_ERRORS, describe_error, number, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S = 0.5
REMEMBERED_S = 86_400
FOLD_EVERY = 20
"""Syncs between two runs of fold_processes.lua."""
DEAD_KEPT = 100
"""The number of exited processes that keep a separate entry."""
DEAD_AFTER_S = 5
"""After this time without a report, a process counts as exited. A process reports twice a second."""
LONG_DEAD_S = 3600
"""After this time, the entry of an exited process is merged. Such a process must never sync again."""
UNKNOWN_PROCESS = -1
CHECKED_KEYS = 2_000
"""The number of waiting keys per side and shard whose value is checked, oldest first."""

MIRRORED = (
    "received", "forwarded", "blocked", "withheld", "excluded", "sampled_out", "unidentified", "looped", "aborted",
    "too_large", "shed", "store_lost", "crashed", "in_flight",
)  # fmt: skip
RECORDED = (
    "received", "accepted", "ineligible", "excluded", "sampled_out", "refused", "shed", "store_lost", "crashed",
    "in_flight",
)  # fmt: skip
OBSERVED = ("parked", "paired", "orphaned", "duplicate", "replaced", "ambiguous", "late", "waiting")
PAIRS = ("ready", *(str(result) for result in Result), "pending")


@dataclass(slots=True)
class _Sync:
    """A call without a reply yet: its number and content. levels: empty at an exit without requests in flight."""

    number: int
    levels: bytes
    growth: dict[str, dict[str, int]]


@dataclass(slots=True)
class LedgerSync:
    """One process's connection to the ledger.

    snapshot: returns cumulative counts by target and dotted field; fields that end in `.in_flight` are levels.
    processes: how many processes, including this one, used this store a few seconds ago.
    """

    store: Store
    process: str
    snapshot: Callable[[], Mapping[str, Mapping[str, int]]]
    processes: int = 1
    _synced: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    _pending: _Sync | None = None
    _is_known: bool = False
    _number: int = 0
    _left: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Sync until cancelled."""
        for turn in itertools.count():
            try:
                await self.sync()
                if turn % FOLD_EVERY == 0:
                    bounds = [DEAD_KEPT, LONG_DEAD_S, DEAD_AFTER_S]
                    self.processes = int(await self.store.run(names.FOLD_PROCESSES, 0, [names.PROCESSES], bounds))
            except STORE_ERRORS as error:
                log.warning("store unavailable; will retry ledger sync", extra={"error": describe_error(error)})
            await asyncio.sleep(EVERY_S)

    async def sync(self, *, leaving: bool = False) -> None:
        """Add the growth since the last call exactly once.

        leaving: this process exits. If it has no requests in flight, its entry is removed.
        Raises: redis.exceptions.RedisError. The next call then first resends this growth and number.
        """
        async with self._lock:
            if self._left:
                return
            if self._pending is not None:
                await self._send(self._pending)
            self._pending = self._next_sync(leaving=leaving)
            await self._send(self._pending)
            self._left = leaving

    def _next_sync(self, *, leaving: bool) -> _Sync:
        growth: dict[str, dict[str, int]] = {}
        levels: dict[str, dict[str, int]] = {}
        for target, counts in self.snapshot().items():
            synced = self._synced.setdefault(target, {})
            for name, count in counts.items():
                if name.endswith("in_flight"):
                    levels.setdefault(target, {})[name] = count
                elif count != synced.get(name, 0):
                    growth.setdefault(target, {})[name] = count - synced.get(name, 0)
                    synced[name] = count
        self._number += 1
        leaves_nothing = leaving and not any(level for fields in levels.values() for level in fields.values())
        return _Sync(self._number, b"" if leaves_nothing else msgspec.json.encode(levels), growth)

    async def _send(self, sync: _Sync) -> None:
        keys: list[str | bytes] = [f"entry:{self.process}", names.PROCESSES]
        keys += [names.ledger(target) for target in sync.growth]
        args: list[bytes | str | int] = [sync.number, REMEMBERED_S, self.process, sync.levels, int(self._is_known)]
        for index, fields in enumerate(sync.growth.values(), start=1):
            for name, by in fields.items():
                args += (index, name, by)
        reply = await self.store.run(names.SYNC_LEDGER, 0, keys, args)
        if reply == UNKNOWN_PROCESS:
            log.warning("store lost its ledger; sending all counts again")
            self._synced.clear()
            self._is_known = False
            self._pending = self._next_sync(leaving=not sync.levels)
            await self._send(self._pending)
            return
        self._is_known = True
        self._pending = None


class Coverage(TypedDict):
    """The number of compared pairs divided by the number of eligible primaries."""

    eligible: int
    compared: int
    ratio: float


class Ledger(TypedDict):
    """One target's ledger, as the API returns it."""

    target: str
    balanced: bool
    mirrored: dict[str, int]
    recorded: dict[str, int]
    observations: dict[str, dict[str, int]]
    pairs: dict[str, int]
    unclean_exits: int
    coverage: Coverage


def _coverage(
    recorded: Mapping[str, int],
    observations: Mapping[str, Mapping[str, int]],
    pairs: Mapping[str, int],
    outside: int,
) -> Coverage:
    """Return the coverage. Eligible responses of v1 are responses that are settled, and responses that never arrived.

    If a response of v1 is lost before it arrives, its candidate becomes an orphan: both count as one loss.
    outside: pairs that coverage does not count, see `OUTSIDE_COVERAGE`.
    """
    primary = observations[Side.PRIMARY]
    decided = sum(primary[name] for name in ("paired", "orphaned", "ambiguous", "late")) - pairs["pending"]
    lost = sum(recorded[name] for name in ("shed", "store_lost", "crashed"))
    eligible = decided - outside + max(lost, observations[Side.CANDIDATE]["orphaned"])
    compared = pairs[Result.MATCH] + pairs[Result.IGNORED] + pairs[Result.MISMATCH]
    return Coverage(eligible=eligible, compared=compared, ratio=round(compared / eligible, 6) if eligible else 0.0)


def balance(target: str, counts: Mapping[str, int], unclean_exits: int) -> Ledger:
    """Return the ledger of `counts` (by dotted field), and whether it balances.

    It balances if each row's first count is the sum of the other counts, the numbers of paired primaries and candidates
    equal the number of pairs, and there are no more paired controls than pairs.
    """

    def row(name: str, fields: Iterable[str]) -> dict[str, int]:
        return {field: counts.get(f"{name}.{field}", 0) for field in fields}

    mirrored, recorded, pairs = row("mirrored", MIRRORED), row("recorded", RECORDED), row("pairs", PAIRS)
    observations = {str(side): row(side, OBSERVED) for side in Side}
    sums = [tuple(one.values()) for one in (mirrored, recorded, *observations.values(), pairs)]
    return Ledger(
        target=target,
        balanced=all(first == sum(rest) for first, *rest in sums)
        and observations[Side.PRIMARY]["paired"] == observations[Side.CANDIDATE]["paired"] == pairs["ready"]
        and observations[Side.CONTROL]["paired"] <= pairs["ready"]
        and min(pairs["pending"], *(one["waiting"] for one in observations.values())) >= 0,
        mirrored=mirrored,
        recorded=recorded,
        observations=observations,
        pairs=pairs,
        unclean_exits=unclean_exits,
        coverage=_coverage(recorded, observations, pairs, counts.get("coverage.outside", 0)),
    )


async def read_ledger(store: Store, target: str, *, check_values: bool = True) -> Ledger:
    """Return the ledger of `target` from all shards.

    check_values: check that the values of waiting keys exist, as the API does; the metrics only count the keys.
    Raises: redis.exceptions.RedisError.
    """
    counts: Counter[str] = Counter()
    reads = (_read_shard(store, shard, target, check_values=check_values) for shard in range(store.shards))
    for part in await asyncio.gather(*reads):
        counts.update(part)
    return balance(target, counts, counts["dead"])


async def _read_shard(store: Store, shard: int, target: str, *, check_values: bool) -> Counter[str]:
    """Return the counts of one shard, and the number of `dead` processes. The first shard lists all processes."""
    checked: set[bytes] = set()
    if check_values:
        head = len(store.keys.name(shard, b""))
        for name in names.deadlines(target):
            oldest: Any = await store.command("ZRANGE", store.keys.name(shard, name), 0, CHECKED_KEYS - 1)
            checked.update(key[head:] for key in cast("list[bytes]", oldest))
    keys = [*names.of_target(target), names.PROCESSES, *checked]
    reply: Any = await store.run(names.LEDGER, shard, keys, [])
    with reading(f"the ledger of {target}"):
        parts = dict(zip(reply[::2], reply[1::2], strict=True))
        flat = cast("list[bytes]", parts[b"counts"])
        counts = Counter({name.decode(): number(count) for name, count in zip(flat[::2], flat[1::2], strict=True)})
        counts["pairs.pending"] = int(parts[b"pending"])
        for side in Side:
            counts[f"{side}.waiting"] = int(parts[side.encode()])
        _add_processes(cast("list[bytes]", parts[b"processes"])[1::2], int(parts[b"now_s"]), target, counts)
    return counts


def _add_processes(states: Iterable[bytes], now_s: int, target: str, counts: Counter[str]) -> None:
    """Add the requests that each process has in flight, or had when it died, and the number of dead processes.

    The store counts a request as `received` when it is settled, so requests in flight are added here.
    """
    for state in states:
        at, _, text = state.partition(b" ")
        alive = now_s - int(at) <= DEAD_AFTER_S
        levels = msgspec.json.decode(text, type=dict[str, dict[str, int]])
        if not alive:
            counts["dead"] += levels.get("_exits", {"n": 1})["n"]  # one ledger entry represents many old processes
        for name, level in levels.get(target, {}).items():
            row = name.partition(".")[0]
            for one in (f"{row}.received", name if alive else f"{row}.crashed"):
                counts[one] += number(level)
