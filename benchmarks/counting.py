"""What the statistics cost: CPU per pair of service and Redis, with counts, buckets and epochs and without them.

Both ways run in one run, in turn (AB, BA, AB, …), each on a Redis of its own, with the requests, bodies and rules of
`pipeline`. Prints one JSON object; progress goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
import yaml
from pipeline import RULES, WARM_UP, Load, family, free_port, ledger, running, service_round
from traffic import Answering, Served, answers

if TYPE_CHECKING:
    from collections.abc import Generator

HERE = Path(__file__).parent
WAYS = {"with": ["-m", "shadowdiff"], "without": [str(HERE / "uncounted.py")]}


@contextlib.contextmanager
def service(way: str, folder: Path, v2_url: str) -> Generator[tuple[dict[str, int], dict[str, list[int]]]]:
    """Run a service with or without statistics, and its Redis; yield the ports and the processes."""
    ports = {name: free_port() for name in ("mirror", "records", "web", "metrics")}
    target = {
        "name": "shop", "hosts": ["shop"], "candidate": {"url": v2_url}, "routes": ["/products/{id}"], "rules": RULES,
    }  # fmt: skip
    socket, config = folder / f"{way}.sock", folder / f"{way}.yaml"
    settings = {
        "store": {"url": f"unix://{socket}"},
        "listen": {"host": "127.0.0.1", **ports},
        "targets": [target],
        "log": {"format": "json"},
    }
    config.write_text(yaml.safe_dump(settings))
    redis = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    serve = [sys.executable, *WAYS[way], "serve", "--config", str(config)]
    with (folder / "service.log").open("a") as log, subprocess.Popen(redis, stdout=subprocess.DEVNULL) as store:
        try:
            with running(serve, f"http://127.0.0.1:{ports['metrics']}/readyz", stderr=log) as process:
                yield ports, {"service": family(process), "redis": [store.pid]}
        finally:
            store.terminate()


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run both ways and return the result."""
    loop, served = asyncio.get_running_loop(), Served()
    prepared = answers("2026-11-23T10:00:00.009Z", faults=True)
    v2 = await loop.create_server(lambda: Answering(prepared, served), "127.0.0.1", 0)
    v2_url = f"http://127.0.0.1:{v2.sockets[0].getsockname()[1]}"
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with contextlib.ExitStack() as stack:
        ways = {way: stack.enter_context(service(way, folder, v2_url)) for way in WAYS}
        for way, (ports, pids) in ways.items():
            await service_round(f"{way}-warm", Load(WARM_UP, times=1), ports, pids, served)
        for number in range(options.rounds):
            for way in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
                ports, pids = ways[way]
                rounds[way].append(
                    await service_round(f"{way}{number:03d}", Load(options.pairs, times=1), ports, pids, served)
                )
                sys.stderr.write(f"round {number + 1}/{options.rounds} {way}: {_us(rounds[way][-1]):.0f} us a pair\n")
        balanced = all(ledger(ports["web"])["balanced"] for ports, _ in ways.values())
    return report(rounds) | {"balanced": balanced}


def _us(one: dict[str, float]) -> float:
    """Return the CPU of service and Redis together."""
    return one["cpu_us"] + one["redis_us"]


def report(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return the one object that is printed: medians, and the spread of what is added over the rounds."""
    added = [_us(a) / _us(b) - 1 for a, b in zip(rounds["with"], rounds["without"], strict=True)]
    medians = {
        f"{name}_{way}": round(statistics.median(one[name] for one in rounds[way]), 1)
        for way in rounds
        for name in ("cpu_us", "redis_us")
    }
    spread = [round(100 * min(added), 1), round(100 * max(added), 1)]
    return {"added_percent": round(100 * statistics.median(added), 1), "added_spread": spread} | medians


def main() -> None:
    """Parse the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000, help="pairs a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each way")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="shadowdiff-bench-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            result = runner.run(bench(options, Path(folder)))
        except SystemExit:
            sys.stderr.write((Path(folder) / "service.log").read_text()[-3000:])
            raise
        sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
