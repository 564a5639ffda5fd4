"""Measure what full tables of causes cost: the bytes in Redis for each target and run, and the time to read them.

Run: scripts/bench causes [--json] [--changes N] [--sets N] [--rounds N].  The stage's own writes fill a separate Redis
through the commit script. `fresh_ms` reads and groups the tables; `cached_ms` is a page within two seconds after that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pages import put
from rig import redis

from shadowdiff.model import Comparison, Difference, Kind, Observation, Pair, Result, Severity, Side
from shadowdiff.model.relation import Relation
from shadowdiff.report import CauseReader, CauseWrites, CountedRun
from shadowdiff.report.cause_writes import PARTS, history_key, set_bucket_key, table_key
from shadowdiff.report.fingerprint import HOUR_MS, MINUTE_MS
from shadowdiff.store import Store, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET: Final = "shop"
ROUTES: Final = 200
MASKS: Final = (Relation.OFFSET | Relation.CONSTANT, Relation.CASE, Relation.RETYPED, Relation(0))
AT_MS: Final = 1_772_000_000_000
BATCH: Final = 100


def main() -> None:
    """Fill a store, and print its size and the time to read causes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--changes", type=int, default=2000)
    parser.add_argument("--sets", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redis(Path(folder)) as (_, url):
        found = asyncio.run(measured(url, arguments.changes, arguments.sets, arguments.rounds))
    print(json.dumps(found) if arguments.json else "\n".join(f"{name:14} {value}" for name, value in found.items()))


async def measured(url: str, changes: int, sets: int, rounds: int) -> dict[str, Any]:
    """Return sizes and times."""
    store = Store(connect(url))
    stage = CauseWrites(lambda _: CountedRun(1, "r1"), lambda _: True, lambda _pair, _difference, _bit, text: text)
    pairs = list(_pairs(changes, sets))
    for at in range(0, len(pairs), BATCH):
        await put(store, [stage(pair, found, AT_MS) for pair, found in pairs[at : at + BATCH]])
    sizes = {part: await _bytes(store, table_key(TARGET, 1, part)) for part in PARTS}
    kept = [
        await _bytes(store, history_key(TARGET, part)) for part in ("first", "changed", "worst", "revision", "last")
    ]
    bucket = sum([await _bytes(store, set_bucket_key(TARGET, step_ms, AT_MS)) for step_ms in (MINUTE_MS, HOUR_MS)])
    fresh: list[float] = []
    cached: list[float] = []
    for _ in range(rounds):
        reader = CauseReader(store, lambda: AT_MS)
        for times in (fresh, cached):
            before_s = time.perf_counter()
            await reader.read(TARGET, [1])
            times.append((time.perf_counter() - before_s) * 1000)
    found = await CauseReader(store, lambda: AT_MS).read(TARGET, [1])
    await store.close()
    return {
        "changes": len(found.tables.changes),
        "sets": len(found.tables.sets),
        "causes": len(found.totals.causes),
        "bytes_per_run": sum(sizes.values()),
        **{f"{part}_bytes": size for part, size in sizes.items()},
        "bytes_per_target": sum(kept),
        "bytes_per_step": bucket // 2,
        "fresh_ms": round(statistics.median(fresh), 1),
        "cached_ms": round(statistics.median(cached), 3),
    }


def _pairs(changes: int, sets: int) -> Iterator[tuple[Pair, Comparison]]:
    """Yield pairs on 200 routes: each has one to six changes of its route."""
    per_route = max(1, changes // ROUTES)
    for number in range(sets):
        route = number % ROUTES
        chosen = [(number // ROUTES * 7 + step * 3) % per_route for step in range(number // ROUTES % 6 + 1)]
        yield _pair(number, route), Comparison(result=Result.MISMATCH, differences=tuple(map(_difference, set(chosen))))


def _pair(number: int, route: int) -> Pair:
    def side(which: Side) -> Observation:
        return Observation(side=which, target=TARGET, id="", id_source="", method="", path="", host="", status=200)

    name = f"GET /shops/{route}/products/{{id}}"
    return Pair(
        key=number.to_bytes(16), target=TARGET, route=name, primary=side(Side.PRIMARY), candidate=side(Side.CANDIDATE)
    )


def _difference(at: int) -> Difference:
    mask = MASKS[at % len(MASKS)]
    path = f"$['products'][*]['details']['field_{at}']"
    texts = tuple((int(bit), f"{at} → {at + 1}") for bit in mask if bit in Relation.OFFSET | Relation.CONSTANT)
    return Difference(
        path=path, pattern=path, kind=Kind.VALUE, primary="1", candidate="2", severity=Severity.VALUE,
        relations=int(mask), parameters=texts,
    )  # fmt: skip


async def _bytes(store: Store, key: str) -> int:
    return int(await store.command("MEMORY", "USAGE", store.keys.name(0, key), "SAMPLES", "0") or 0)


if __name__ == "__main__":
    main()
