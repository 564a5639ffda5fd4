"""CPU of all service processes per compared pair, over a bare forwarder of the same requests.

Both run at saturation, in turns (ABAB…), on one machine with v2 and the load generator. Every body has a field
that always differs and that a rule covers, so no pair takes the byte-equal path; 5 % have another difference. Each
round then repeats the service's half at half its rate.
With `--workers N`, one process and N processes take turns instead, both at `--rate` pairs per second.
Prints one JSON object; progress goes to standard error.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rig import (
    BODY_BYTES,
    OUTSTANDING,
    V2_SAID_AT,
    WARM_UP,
    Load,
    Round,
    Stand,
    family,
    free_port,
    measured,
    median,
    rounds_of,
    rss_mib,
    run,
    running,
    say,
    stand,
    v2,
)
from traffic import Served, answers, drive, times_of

if TYPE_CHECKING:
    import argparse

RATE = 800.0


async def forwarder_round(name: str, load: Load, port: int, pid: int, served: Served) -> Round:
    """Return one round's figures of the forwarder."""
    driven = drive(
        name, load.pairs, mirror_port=port, records_port=None, served=served, outstanding=OUTSTANDING, times=load.times
    )
    cpu, wall, statuses = await measured(lambda: family(pid), driven)
    if set(statuses) != {"200"}:
        raise SystemExit(f"the forwarder failed: {statuses}")
    return {"cpu_us": cpu / load.pairs * 1e6, "per_s": load.pairs / wall, "busy": cpu / wall}


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything and return the result."""
    served = Served()
    load = Load(pairs=options.pairs, times=times_of(options.body_bytes), sample=options.sample)
    prepared = answers(V2_SAID_AT, faults=True, times=load.times)
    v2_url = await v2(served, prepared)
    body_bytes = statistics.mean(len(one.partition(b"\r\n\r\n")[2]) for one in prepared)
    against = of_workers if options.workers > 1 else of_a_forwarder
    return {"body_bytes": round(body_bytes)} | await against(options, folder, load, v2_url, served)


async def of_a_forwarder(
    options: argparse.Namespace, folder: Path, load: Load, v2_url: str, served: Served
) -> dict[str, Any]:
    """Let the service and the forwarder take turns."""
    port = free_port()
    forward = [sys.executable, str(Path(__file__).parent / "forwarder.py"), str(port), v2_url]
    settings = {"store": {"shards": options.shards}}
    with stand(folder, v2_url, settings=settings, sample=load.sample) as service, running(forward, port) as forwarder:
        warm = replace(load, pairs=min(WARM_UP, load.pairs))
        await service.round("warm", warm, served)
        await forwarder_round("warm", warm, port, forwarder, served)
        a: list[Round] = []
        b: list[Round] = []
        half: list[Round] = []
        for number in range(options.rounds):
            a.append(await service.round(f"a{number:03d}", load, served))
            b.append(await forwarder_round(f"b{number:03d}", load, port, forwarder, served))
            half.append(await service.round(f"h{number:03d}", load, served, rate=a[-1]["per_s"] / 2))
            say(
                f"round {number + 1}/{options.rounds}: {a[-1]['cpu_us']:.0f} us a pair,"
                f" {b[-1]['cpu_us']:.0f} us forwarded, {half[-1]['cpu_us']:.0f} us a pair at half load"
            )
        return report(a, b, half, service.ledger(), rss_mib(service.pids()))


async def of_workers(
    options: argparse.Namespace, folder: Path, load: Load, v2_url: str, served: Served
) -> dict[str, Any]:
    """Let one process and several take turns, at the same rate."""
    counts = (1, options.workers)
    rounds: dict[int, list[Round]] = {count: [] for count in counts}
    with contextlib.ExitStack() as stack:
        stands: dict[int, Stand] = {}
        for count in counts:
            some = ["--workers", str(count)] if count > 1 else []
            settings = {"store": {"shards": options.shards}}
            stands[count] = stack.enter_context(
                stand(folder, v2_url, f"workers{count}", options=some, settings=settings)
            )
        for count, one in stands.items():
            await one.round(f"w{count}", replace(load, pairs=min(WARM_UP, load.pairs)), served, rate=options.rate)
        for number in range(options.rounds):
            for count in counts[:: 1 if number % 2 == 0 else -1]:
                said = await stands[count].round(f"{count}x{number:03d}", load, served, rate=options.rate)
                rounds[count].append(said)
                say(f"round {number + 1}/{options.rounds}, {count} at work: {said['cpu_us']:.0f} us a pair")
        balanced = all(one.ledger()["balanced"] for one in stands.values())
    ratios = [many["cpu_us"] / one["cpu_us"] for one, many in zip(*rounds.values(), strict=True)]
    medians = {
        str(count): {name: median(some, name) for name in ("cpu_us", "redis_us", "per_s")}
        for count, some in rounds.items()
    }
    return {
        "workers": medians,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "rounds": len(ratios),
        "balanced": balanced,
    }


def report(a: list[Round], b: list[Round], half: list[Round], books: dict[str, Any], memory: float) -> dict[str, Any]:
    """Return the JSON object: medians, and the spread of the ratio over the rounds."""
    ratios = [service["cpu_us"] / forwarder["cpu_us"] for service, forwarder in zip(a, b, strict=True)]
    pairs = books["pairs"]
    return {
        "pairs_per_s": median(a, "per_s", 0),
        "cpu_us_per_pair": median(a, "cpu_us"),
        "forwarder_cpu_us": median(b, "cpu_us"),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "rounds": len(ratios),
        "busy": median(a, "busy", 2),
        "forwarder_busy": median(b, "busy", 2),
        "redis_cpu_us_per_pair": median(a, "redis_us"),
        "half_load": {
            "pairs_per_s": median(half, "per_s", 0),
            "cpu_us_per_pair": median(half, "cpu_us"),
            "redis_cpu_us_per_pair": median(half, "redis_us"),
        },
        "mismatch_share": round(pairs["mismatch"] / max(1, pairs["ready"]), 4),
        "incomparable": pairs["incomparable"],
        "match": pairs["match"],
        "balanced": books["balanced"],
        "rss_mib": round(memory, 1),
    }


def main() -> None:
    """Parse the options, run, print."""
    parser = rounds_of(__doc__)
    parser.add_argument("--body-bytes", type=int, default=BODY_BYTES, help="about how long each body is")
    parser.add_argument("--workers", type=int, default=1, help="stand so many processes against one")
    parser.add_argument("--rate", type=float, default=RATE, help="pairs a second, with --workers")
    parser.add_argument("--sample", type=float, default=1.0, help="the share that is compared; figures are a request's")
    parser.add_argument("--shards", type=int, default=1, help="the store's hash tags")
    run(bench, parser.parse_args())


if __name__ == "__main__":
    main()
