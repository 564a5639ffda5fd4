"""CPU of all service processes per compared pair, over a bare forwarder of the same requests.

Both run at saturation, in turn (ABAB…), on the same machine with v2 and the load generator on it. Every
body carries a field that always differs and is covered by a rule, so that no pair takes the byte-equal
path; 5 % differ beyond it. Each round then repeats the service's half at half the rate that it had. Prints one JSON
object; progress goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
import yaml
from traffic import Answering, Served, answers, drive

if TYPE_CHECKING:
    from collections.abc import Generator

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
OUTSTANDING = 64
START_S = 30.0
WARM_UP = 2_000
BODY_BYTES = 1_500
RULES = [
    {"ignore": "$.meta.generatedAt", "reason": "clock"},
    {"ignore": "$.meta.requestId"},
    {"ignore": "$.debug"},
    {"unordered": "$.variants[*].tags"},
    {"key": {"path": "$.variants", "by": ["sku"]}},
    {"tolerance": {"path": "$.total", "abs": 0.01}},
    {"mask": {"path": "$.traceUrl", "pattern": "[0-9a-f]{32}"}},
    {"equivalent": {"path": "$.promo", "as": ["null", "missing"]}},
    {"ignore": "header.x-served-by"},
    {"tolerance": {"path": "$.stock", "abs": 0}},
]


@dataclass(frozen=True)
class Load:
    """How many pairs make a round, and how many times as long as the shortest their bodies are."""

    pairs: int
    times: int


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(member for child in children for member in family(int(child)))]
    return [pid]


def cpu_s(pids: list[int]) -> float:
    """Return the CPU time that the processes have used, user and system."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * TICK_S


def rss_mib(pids: list[int]) -> float:
    """Return the resident memory of the processes together."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextlib.contextmanager
def running(command: list[str], ready: str | int, **options: Any) -> Generator[int]:
    """Run a program until the block ends; `ready` is a port that must open, or a URL that must answer 200."""
    with subprocess.Popen(command, **options) as process:
        try:
            deadline = time.monotonic() + START_S
            while not answers_at(ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{' '.join(command[:4])} did not start")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def answers_at(ready: str | int) -> bool:
    """Return whether a port is open, or a URL answers 200."""
    try:
        if isinstance(ready, int):
            socket.create_connection(("127.0.0.1", ready), timeout=1).close()
            return True
        with urllib.request.urlopen(ready, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def ledger(web: int) -> dict[str, Any]:
    """Return the service's books."""
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/api/v1/ledger?target=shop", timeout=10) as answer:
        return json.load(answer)


async def measured(pids: list[int], load: Any) -> tuple[float, float, dict[str, int]]:
    """Return CPU seconds, wall seconds and answers of one load."""
    cpu, wall = cpu_s(pids), time.monotonic()
    statuses = await load
    return cpu_s(pids) - cpu, time.monotonic() - wall, statuses


async def service_round(
    name: str,
    load_of: Load,
    ports: dict[str, int],
    pids: dict[str, list[int]],
    served: Served,
    *,
    rate: float | None = None,
) -> dict[str, float]:
    """Return one round's figures of the service; it ends when the last pair is booked."""
    pairs = load_of.pairs
    before = ledger(ports["web"])["pairs"]["ready"]

    async def load() -> dict[str, int]:
        statuses = await drive(
            name,
            pairs,
            mirror_port=ports["mirror"],
            records_port=ports["records"],
            served=served,
            outstanding=OUTSTANDING,
            times=load_of.times,
            rate=rate,
        )
        while True:
            books = await asyncio.to_thread(ledger, ports["web"])
            if books["pairs"]["ready"] - before >= pairs and not books["pairs"]["pending"]:
                return statuses
            await asyncio.sleep(0.1)

    redis_before = cpu_s(pids["redis"])
    cpu, wall, statuses = await measured(pids["service"], load())
    if set(statuses) != {"202"}:
        raise SystemExit(f"the service shed: {statuses}")
    return {
        "cpu_us": cpu / pairs * 1e6, "per_s": pairs / wall, "busy": cpu / wall,
        "redis_us": (cpu_s(pids["redis"]) - redis_before) / pairs * 1e6,
    }  # fmt: skip


async def forwarder_round(name: str, load_of: Load, port: int, pids: list[int], served: Served) -> dict[str, float]:
    """Return one round's figures of the forwarder."""
    requests = load_of.pairs
    load = drive(
        name,
        requests,
        mirror_port=port,
        records_port=None,
        served=served,
        outstanding=OUTSTANDING,
        times=load_of.times,
    )
    cpu, wall, statuses = await measured(pids, load)
    if set(statuses) != {"200"}:
        raise SystemExit(f"the forwarder failed: {statuses}")
    return {"cpu_us": cpu / requests * 1e6, "per_s": requests / wall, "busy": cpu / wall}


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything and return the result."""
    loop = asyncio.get_running_loop()
    served = Served()
    load = Load(pairs=options.pairs, times=max(1, round(options.body_bytes / BODY_BYTES)))
    prepared = answers("2026-11-23T10:00:00.009Z", faults=True, times=load.times)
    v2 = await loop.create_server(lambda: Answering(prepared, served), "127.0.0.1", 0)
    v2_url = f"http://127.0.0.1:{v2.sockets[0].getsockname()[1]}"
    ports = {name: free_port() for name in ("mirror", "records", "web", "metrics", "redis", "forwarder")}
    config = folder / "shadowdiff.yaml"
    target = {
        "name": "shop",
        "hosts": ["shop"],
        "candidate": {"url": v2_url},
        "routes": ["/products/{id}"],
        "rules": RULES,
    }
    listen = {"host": "127.0.0.1"} | {name: ports[name] for name in ("mirror", "records", "web", "metrics")}
    store = {"url": f"unix://{folder}/redis.sock"}
    config.write_text(
        yaml.safe_dump({"store": store, "listen": listen, "targets": [target], "log": {"format": "json"}})
    )
    redis = ["redis-server", "--port", "0", "--unixsocket", f"{folder}/redis.sock", "--save", "", "--appendonly", "no"]
    errors = (folder / "service.log").open("w")
    here = Path(__file__).parent
    serve = [sys.executable, "-m", "shadowdiff", "serve", "--config", str(config)]
    forward = [sys.executable, str(here / "forwarder.py"), str(ports["forwarder"]), v2_url]
    with (
        subprocess.Popen(redis, stdout=subprocess.DEVNULL) as store_process,  # noqa: ASYNC220 - before any load
        running(serve, f"http://127.0.0.1:{ports['metrics']}/readyz", stderr=errors) as service,
        running(forward, ports["forwarder"]) as forwarder,
    ):
        try:
            pids = {"service": family(service), "redis": [store_process.pid]}
            forwarder_pids = family(forwarder)
            warm = replace(load, pairs=min(WARM_UP, load.pairs))
            await service_round("warm", warm, ports, pids, served)
            await forwarder_round("warm", warm, ports["forwarder"], forwarder_pids, served)
            a: list[dict[str, float]] = []
            b: list[dict[str, float]] = []
            half: list[dict[str, float]] = []
            for number in range(options.rounds):
                a.append(await service_round(f"a{number:03d}", load, ports, pids, served))
                b.append(await forwarder_round(f"b{number:03d}", load, ports["forwarder"], forwarder_pids, served))
                half.append(await service_round(f"h{number:03d}", load, ports, pids, served, rate=a[-1]["per_s"] / 2))
                sys.stderr.write(f"round {number + 1}/{options.rounds}: {a[-1]['cpu_us']:.0f} us a pair,")
                sys.stderr.write(f" {b[-1]['cpu_us']:.0f} us forwarded,")
                sys.stderr.write(f" {half[-1]['cpu_us']:.0f} us a pair at half load\n")
            books = ledger(ports["web"])
            memory = rss_mib(family(service))
        finally:
            store_process.terminate()
    body_bytes = statistics.mean(len(one.partition(b"\r\n\r\n")[2]) for one in prepared)
    return {"body_bytes": round(body_bytes)} | report(a, b, half, books, memory)


def report(
    a: list[dict[str, float]],
    b: list[dict[str, float]],
    half: list[dict[str, float]],
    books: dict[str, Any],
    memory: float,
) -> dict[str, Any]:
    """Return the one object that is printed: medians, and the spread of the ratio over the rounds."""
    ratios = [service["cpu_us"] / forwarder["cpu_us"] for service, forwarder in zip(a, b, strict=True)]

    def median(rounds: list[dict[str, float]], name: str, digits: int = 1) -> float:
        return round(statistics.median(one[name] for one in rounds), digits)

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000, help="pairs a round")
    parser.add_argument("--body-bytes", type=int, default=BODY_BYTES, help="about how long each body is")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side")
    parser.add_argument("--json", action="store_true", help="one JSON object (the default)")
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
