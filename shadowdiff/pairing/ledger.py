"""The ledger of one target: every request and observation in one place, and whether the books balance.

In: the counts in each shard, read at one instant a shard, and the processes that said they live. Out: the
JSON of the API. Holds: `waiting` and `pending` come from the store's own structures and are never the rest
of a subtraction, so that an observation removed behind the service's back turns `balanced` false.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypedDict, cast

import msgspec

from shadowdiff.model import Result, Side
from shadowdiff.pairing import names
from shadowdiff.pairing.books import DEAD_AFTER_S
from shadowdiff.store import number, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowdiff.store import Store

PROVED = 2_000
"""Waiting keys of each side and shard whose value is looked for; the oldest first."""

MIRRORED = (
    "received", "forwarded", "blocked", "sampled_out", "unidentified", "looped", "aborted", "too_large", "shed",
    "store_lost", "crashed", "in_flight",
)  # fmt: skip
RECORDED = (
    "received", "accepted", "ineligible", "sampled_out", "refused", "shed", "store_lost", "crashed", "in_flight",
)  # fmt: skip
OBSERVED = ("parked", "paired", "orphaned", "duplicate", "replaced", "ambiguous", "late", "waiting")
PAIRS = ("ready", *(str(result) for result in Result), "pending")


class Coverage(TypedDict):
    """Compared pairs over eligible primaries."""

    eligible: int
    compared: int
    ratio: float


class Ledger(TypedDict):
    """One target's books, as the API gives them."""

    target: str
    balanced: bool
    mirrored: dict[str, int]
    recorded: dict[str, int]
    observations: dict[str, dict[str, int]]
    pairs: dict[str, int]
    unclean_exits: int
    coverage: Coverage


def _row(counts: Mapping[str, int], prefix: str, fields: Iterable[str]) -> dict[str, int]:
    return {field: counts.get(f"{prefix}.{field}", 0) for field in fields}


def _adds_up(row: Mapping[str, int]) -> bool:
    """Return whether the first figure of a row is the sum of the others."""
    first, *rest = row.values()
    return first == sum(rest)


def _coverage(
    recorded: Mapping[str, int], observations: Mapping[str, Mapping[str, int]], pairs: Mapping[str, int]
) -> Coverage:
    """Return the coverage: eligible is every answer of v1 whose fate is known, and every one that never arrived.

    An answer that was lost on its way in leaves its candidate an orphan as well: it is one loss, not two.
    """
    primary = observations[Side.PRIMARY]
    decided = sum(primary[name] for name in ("paired", "orphaned", "ambiguous", "late")) - pairs["pending"]
    lost = sum(recorded[name] for name in ("shed", "store_lost", "crashed"))
    eligible = decided + max(lost, observations[Side.CANDIDATE]["orphaned"])
    compared = pairs[Result.MATCH] + pairs[Result.IGNORED] + pairs[Result.MISMATCH]
    return Coverage(eligible=eligible, compared=compared, ratio=round(compared / eligible, 6) if eligible else 0.0)


def balance(target: str, counts: Mapping[str, int], unclean_exits: int) -> Ledger:
    """Return the ledger that `counts` (by dotted field) state, and whether every identity holds.

    Identities: each row's first figure is the sum of the rest; primary and candidate paired = pairs ready;
    no more controls paired than pairs.
    """
    mirrored = _row(counts, "mirrored", MIRRORED)
    recorded = _row(counts, "recorded", RECORDED)
    observations = {str(side): _row(counts, side, OBSERVED) for side in Side}
    pairs = _row(counts, "pairs", PAIRS)
    both_sides = all(observations[side]["paired"] == pairs["ready"] for side in (Side.PRIMARY, Side.CANDIDATE))
    balanced = (
        all(_adds_up(row) for row in (mirrored, recorded, *observations.values(), pairs))
        and both_sides
        and observations[Side.CONTROL]["paired"] <= pairs["ready"]
        and min(pairs["pending"], *(row["waiting"] for row in observations.values())) >= 0
    )
    return Ledger(
        target=target,
        balanced=balanced,
        mirrored=mirrored,
        recorded=recorded,
        observations=observations,
        pairs=pairs,
        unclean_exits=unclean_exits,
        coverage=_coverage(recorded, observations, pairs),
    )


async def read_ledger(store: Store, target: str, *, prove: bool = True) -> Ledger:
    """Return the ledger of `target` over all shards.

    prove: look for the value of waiting keys as well (what the API does), not only for their number (what
    the metrics' background read does).
    Raises: redis.exceptions.RedisError.
    """
    counts: dict[str, int] = {}
    dead = 0
    shards = await asyncio.gather(*(_read_shard(store, shard, target, prove=prove) for shard in range(store.shards)))
    for part, ended in shards:
        dead += ended
        for name, count in part.items():
            counts[name] = counts.get(name, 0) + count
    return balance(target, counts, dead)


async def _read_shard(store: Store, shard: int, target: str, *, prove: bool) -> tuple[dict[str, int], int]:
    """Return one shard's counts, and how many of the processes that it lists are dead (the first lists all)."""
    to_prove: set[bytes] = set()
    if prove:
        head = len(store.keys.name(shard, b""))
        for name in names.deadlines(target):
            oldest: Any = await store.command("ZRANGE", store.keys.name(shard, name), 0, PROVED - 1)
            to_prove.update(key[head:] for key in cast("list[bytes]", oldest))
    answer: Any = await store.run(names.LEDGER, shard, [*names.of_target(target), names.PROCESSES, *to_prove], [])
    with reading(f"the books of {target}"):
        flat = cast("list[bytes]", answer[0])
        counts = {name.decode(): number(count) for name, count in zip(flat[::2], flat[1::2], strict=True)}
        counts["pairs.pending"] = int(answer[1])
        for side, waiting in zip(Side, answer[2:5], strict=True):
            counts[f"{side}.waiting"] = int(waiting)
        states = cast("list[bytes]", answer[5])[1::2]
        return counts, _add_processes(states, int(answer[6]), target, counts)


def _add_processes(states: Iterable[bytes], now_s: int, target: str, counts: dict[str, int]) -> int:
    """Add what each process holds in flight, or held when it was last heard of; return how many are dead.

    A row's `received` in the store is of what has a disposition; what has none yet is received and in flight.
    """
    dead = 0
    for state in states:
        at, _, text = state.partition(b" ")
        alive = now_s - int(at) <= DEAD_AFTER_S
        levels = msgspec.json.decode(text, type=dict[str, dict[str, int]])
        if not alive:
            dead += levels.get("_exits", {"n": 1})["n"]  # one entry stands for many that ended long ago
        for name, level in levels.get(target, {}).items():
            row = name.partition(".")[0]
            for field in (f"{row}.received", name if alive else f"{row}.crashed"):
                counts[field] = counts.get(field, 0) + number(level)
    return dead
