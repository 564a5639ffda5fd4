"""Measure the cost and memory of a pair as more observations wait and more pairs were processed.

Three services run next to each other, each with its own Redis: one with little data, one with many waiting
observations, one that has processed many pairs. They take turns under the same load. Then the same pairs go through
each store in the same batches, without the services, so that the commands to Redis can be compared exactly. Then a
service with a slow v2 holds thousands of requests at once for `--soak-s` seconds.
Prints one JSON object; progress goes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from filling import BATCH, Asked, Held, pair_there, wait_there
from rig import WARM_UP, Load, Round, Stand, configured, median, redis, rounds_of, rss_mib, run, say, serving, stand, v2
from traffic import Served

from shadowdiff.model import Side

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

OVERHEAD_BYTES = 450
CPU_RATIO = 1.2
RSS_MIB = 250.0
FLAT_RATIO = 1.05
IN_FLIGHT = 2_000
V2_TAKES_S = 8.0
CONNECTIONS = 64
LOOK_EVERY_S = 2.0
DEPTH = 4_000_000


@dataclass(frozen=True)
class Size:
    """Sizes of the benchmark. marks: numbers of waiting observations at which memory is read."""

    waiting: tuple[int, int] = (1_000, 1_000_000)
    seen: tuple[int, int] = (10_000, 1_000_000)
    marks: tuple[int, ...] = (1_000, 10_000, 70_000, 600_000)
    batches: int = 50
    soak_s: float = 60.0


QUICK = Size(waiting=(1_000, 20_000), seen=(2_000, 10_000), marks=(1_000, 5_000), batches=5, soak_s=15.0)


@dataclass
class Grown:
    """One of the three services: its waiting and processed pairs, and its rounds."""

    name: str
    waiting: int
    seen: int
    rounds: list[Round] = field(default_factory=list[Round])
    asked: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def as_json(self) -> dict[str, Any]:
        """Return the figures of its rounds."""
        figures = {name: median(self.rounds, name) for name in ("cpu_us", "redis_us", "per_s")}
        live = {name: round(statistics.median(one[name] for one in self.asked), 2) for name in self.asked[0]}
        return {"waiting": self.waiting, "seen": self.seen} | figures | {"live": live}


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything and return the result."""
    size = QUICK if options.quick else Size()
    (few, many), (young, old) = size.waiting, size.seen
    grown = [Grown("small", few, young), Grown("waiting", many, young), Grown("seen", few, old)]
    memory: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stores:
        stands = {one.name: stores.enter_context(redis(folder, one.name)) for one in grown}
        for one in grown:
            marks = (*(mark for mark in size.marks if mark < one.waiting), one.waiting)
            config, _ = configured(folder, "http://127.0.0.1:1", stands[one.name][1], one.name)
            await pair_there(stands[one.name][1], config, one.seen // BATCH - 1, "seen")
            say(f"{one.name} has seen {one.seen} pairs")
            held = await wait_there(stands[one.name][1], Side.PRIMARY, marks)
            memory += [each.as_json() | {"side": Side.PRIMARY} for each in held if one.name == "waiting"]
            say(f"{one.waiting} observations wait in {one.name}: {held[-1].as_json()}")
        memory += [each.as_json() | {"side": Side.CANDIDATE} for each in await _candidates(folder, size)]
        turns = await take_turns(options, folder, grown, stands)
        say("counting what Redis is asked")
        exact = {
            one.name: await pair_there(stands[one.name][1], folder / f"{one.name}.yaml", size.batches) for one in grown
        }
    held = await in_flight(folder, options.soak_s or size.soak_s)
    return report(grown, exact, size.batches * BATCH, memory, held) | turns


async def _candidates(folder: Path, size: Size) -> list[Held]:
    with redis(folder, "candidates") as (_, url):
        return await wait_there(url, Side.CANDIDATE, size.marks)


async def take_turns(
    options: argparse.Namespace, folder: Path, grown: list[Grown], stores: dict[str, tuple[int, str]]
) -> dict[str, Any]:
    """Let the three services take turns."""
    served = Served()
    v2_url = await v2(served)
    settings = {"store": {"depth": DEPTH}}
    with contextlib.ExitStack() as stack:
        stands = {
            one.name: stack.enter_context(serving(folder, v2_url, stores[one.name], one.name, settings=settings))
            for one in grown
        }
        for one in grown:
            await stands[one.name].round("warm", Load(min(WARM_UP, options.pairs)), served)
        for number in range(options.rounds):
            for one in grown[:: 1 if number % 2 == 0 else -1]:
                await _round(one, stands[one.name], f"g{number:03d}", options.pairs, served)
            times = ", ".join(f"{one.name} {one.rounds[-1]['cpu_us']:.0f}" for one in grown)
            say(f"round {number + 1}/{options.rounds}, us a pair: {times}")
        return {"balanced": all(one.ledger()["balanced"] for one in stands.values())}


async def _round(one: Grown, service: Stand, name: str, pairs: int, served: Served) -> None:
    before = await Asked.of(service.store_url)
    one.rounds.append(await service.round(name, Load(pairs), served))
    one.asked.append((await Asked.of(service.store_url)).since(before).a_pair(pairs))


async def in_flight(folder: Path, soak_s: float) -> dict[str, Any]:
    """Hold thousands of requests at once; return their memory over time."""
    served = Served()
    v2_url = await v2(served, after_s=V2_TAKES_S)
    settings = {"limits": {"in_flight": 2 * IN_FLIGHT}}
    bounds = {"concurrency": IN_FLIGHT, "queue": IN_FLIGHT, "timeout": "20s"}
    pairs = int(soak_s * IN_FLIGHT / V2_TAKES_S)
    seen: list[tuple[float, float, int]] = []
    with stand(folder, v2_url, "soak", settings=settings, candidate=bounds) as service:
        await service.round("warm", Load(WARM_UP), served, outstanding=IN_FLIGHT, connections=CONNECTIONS)
        began_s = time.monotonic()

        async def look() -> None:
            while True:
                books = await asyncio.to_thread(service.ledger)
                seen.append((time.monotonic() - began_s, rss_mib([service.pid]), books["mirrored"]["in_flight"]))
                if len(seen) % 15 == 0:
                    say(f"{seen[-1][0]:.0f} s: {seen[-1][1]:.0f} MiB with {seen[-1][2]} in flight")
                await asyncio.sleep(LOOK_EVERY_S)

        looking = asyncio.create_task(look())
        said = await service.round("soak", Load(pairs), served, outstanding=IN_FLIGHT, connections=CONNECTIONS)
        looking.cancel()
        balanced = service.ledger()["balanced"]
    memory = [one for _, one, _ in seen]
    fifth = max(1, len(memory) // 5)
    second, last = statistics.median(memory[fifth : 2 * fifth] or memory), statistics.median(memory[-fifth:])
    return {
        "seconds": round(soak_s), "in_flight": statistics.median(held for *_, held in seen), "pairs": pairs,
        "per_s": round(said["per_s"]), "rss_mib_most": round(max(memory), 1),
        "rss_mib_second_fifth": round(second, 1), "rss_mib_last_fifth": round(last, 1),
        "growth": round(last / second, 3), "balanced": balanced,
    }  # fmt: skip


def report(
    grown: list[Grown], exact: dict[str, Asked], pairs: int, memory: list[dict[str, Any]], held: dict[str, Any]
) -> dict[str, Any]:
    """Return the JSON object, with the aims that are met."""
    small, *others = grown
    ratios = {one.name: _ratio(one, small, "cpu_us") for one in others}
    redis_ratios = {one.name: _ratio(one, small, "redis_us") for one in others}
    calls = [one.calls for one in exact.values()]
    bytes_of = [(one.read_bytes + one.written_bytes) / pairs for one in exact.values()]
    most_overhead = max(one["overhead_bytes"] for one in memory)
    return {
        "stands": {one.name: one.as_json() for one in grown},
        "cpu_ratio": ratios,
        "redis_cpu_ratio": redis_ratios,
        "exact": {name: one.a_pair(pairs) | {"calls": one.calls} for name, one in exact.items()},
        "memory": memory,
        "soak": held,
        "holds": {
            "commands a pair identical": all(one == calls[0] for one in calls),
            "bytes a pair within 0.1 %": max(bytes_of) <= 1.001 * min(bytes_of),
            "CPU a pair within 20 %": max(ratios.values()) <= CPU_RATIO,
            "Redis' CPU a pair within 20 %": max(redis_ratios.values()) <= CPU_RATIO,
            f"at most {OVERHEAD_BYTES} bytes in addition to the compressed body": most_overhead <= OVERHEAD_BYTES,
            f"less than {RSS_MIB:g} MiB with {IN_FLIGHT} in flight": held["rss_mib_most"] < RSS_MIB,
            "memory flat": held["growth"] <= FLAT_RATIO,
        },
    }


def _ratio(one: Grown, small: Grown, name: str) -> float:
    """Return the median ratio of its cost to the small one's in the same round."""
    return round(statistics.median(a[name] / b[name] for a, b in zip(one.rounds, small.rounds, strict=True)), 3)


def main() -> None:
    """Parse the options, run, print."""
    parser = rounds_of(__doc__, pairs=5_000, rounds=7)
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--soak-s", type=float, default=0.0, help="hold requests for so long (default: 60, quick: 15)")
    run(bench, parser.parse_args())


if __name__ == "__main__":
    main()
