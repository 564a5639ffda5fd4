"""Shared parts of the benchmarks: services with their own Redis, v2 in this process, and measured rounds of load.

CPU is the system's count for a process and its descendants. A round ends when its last pair is in the ledger, so
no work is left for the next round.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
import yaml
from traffic import Answering, Late, Served, Unheard, answers, drive, id_of

from shadowdiff.pairing.request_id import is_sampled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
OUTSTANDING = 64
MOST_AHEAD = 4_000
"""Pairs sent but not compared yet: less than half of `store.queue`."""
LOOK_AGAIN_S = 0.5
START_S = 30.0
BOOKED_WITHIN_S = 120.0
WARM_UP = 2_000
BODY_BYTES = 1_500
TARGET = "shop"
V2_SAID_AT = "2026-11-23T10:00:00.009Z"
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
COMPARISONS, SHED = "shadowdiff_comparisons_total", "shadowdiff_shed_total"
SERVE = ("-m", "shadowdiff")

Round = dict[str, float]


@dataclass(frozen=True)
class Load:
    """The pairs of a round, and the length of their bodies as a multiple of the shortest.

    sample: the share that the service compares and v2 gets.
    """

    pairs: int
    times: int = 1
    sample: float = 1.0

    def kept(self, run: str) -> int:
        """Return how many of a run's pairs are compared."""
        return (
            self.pairs if self.sample == 1 else sum(is_sampled(id_of(run, n), self.sample) for n in range(self.pairs))
        )


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    with contextlib.suppress(OSError):
        of_threads = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
        children = " ".join(of_threads).split()
        return [pid, *(member for child in children for member in family(int(child)))]
    return [pid]


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU time that the processes have used, user and system."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * TICK_S


def rss_mib(pids: Iterable[int]) -> float:
    """Return the resident memory of the processes together."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
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


@contextlib.contextmanager
def redis(folder: Path, name: str = "redis") -> Generator[tuple[int, str]]:
    """Run a Redis without persistence; yield its process and its address."""
    address = folder / f"{name}.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(address), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield process.pid, f"unix://{address}"
        finally:
            process.terminate()


@dataclass(frozen=True)
class Stand:
    """A service and its own Redis."""

    ports: dict[str, int]
    pid: int
    redis_pid: int
    store_url: str
    config: Path

    def pids(self) -> list[int]:
        """Return the service's processes."""
        return family(self.pid)

    def ledger(self) -> dict[str, Any]:
        """Return the service's ledger."""
        url = f"http://127.0.0.1:{self.ports['web']}/api/v1/ledger?target={TARGET}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def counters(self, name: str) -> dict[str, float]:
        """Return the metric's series that are not zero, by their labels; metrics do not read Redis."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics']}/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith(f"{name}{{")]
        values = {labels: float(value.split()[0]) for labels, _, value in (line.rpartition("} ") for line in lines)}
        return {labels.removeprefix(f"{name}{{"): value for labels, value in values.items() if value}

    def compared(self) -> int:
        """Return how many pairs were compared and committed."""
        return round(sum(self.counters(COMPARISONS).values()))

    async def round(
        self, name: str, load: Load, served: Served, *, rate: float | None = None, outstanding: int = OUTSTANDING,
        connections: int | None = None,
    ) -> Round:  # fmt: skip
        """Return one round's figures; it ends when the last pair is in the ledger."""
        before, kept = await asyncio.to_thread(self.compared), load.kept(name)
        done = 0

        async def room(number: int) -> None:
            """Limit the pairs in flight, so that the service does not shed load."""
            nonlocal done
            while kept == load.pairs and number - done >= MOST_AHEAD:
                await asyncio.sleep(LOOK_AGAIN_S)
                done = await asyncio.to_thread(self.compared) - before

        async def driven() -> dict[str, int]:
            try:
                statuses = await drive(
                    name, load.pairs, mirror_port=self.ports["mirror"], records_port=self.ports["records"],
                    served=served if kept == load.pairs else Unheard(),
                    outstanding=outstanding, connections=connections, times=load.times, rate=rate,
                    room=room,
                )  # fmt: skip
            except TimeoutError as error:
                seen = {name: await asyncio.to_thread(self.counters, name) for name in (SHED, COMPARISONS)}
                raise SystemExit(f"{error}: {seen}") from error
            if set(statuses) != {"202"}:
                raise SystemExit(f"the service shed: {statuses}, {await asyncio.to_thread(self.counters, SHED)}")
            deadline = time.monotonic() + BOOKED_WITHIN_S
            while (done := await asyncio.to_thread(self.compared) - before) < kept:
                if time.monotonic() > deadline:
                    raise SystemExit(f"of {kept} pairs {done} were compared; the books say where the others are")
                await asyncio.sleep(0.1)
            return statuses

        redis_before_s = cpu_s([self.redis_pid])
        cpu, wall, _ = await measured(self.pids, driven())
        return {
            "cpu_us": cpu / load.pairs * 1e6, "per_s": load.pairs / wall, "busy": cpu / wall,
            "redis_us": (cpu_s([self.redis_pid]) - redis_before_s) / load.pairs * 1e6,
        }  # fmt: skip


def configured(
    folder: Path, v2_url: str, store_url: str, name: str = "service", *,
    settings: dict[str, dict[str, Any]] | None = None, candidate: dict[str, Any] | None = None,
    sample: float = 1.0,
) -> tuple[Path, dict[str, int]]:  # fmt: skip
    """Write a service's configuration; return its file and its ports."""
    ports = {port: free_port() for port in ("mirror", "records", "web", "metrics")}
    sections = dict(settings or {})
    target: dict[str, Any] = {
        "name": TARGET, "hosts": [TARGET], "candidate": {"url": v2_url} | (candidate or {}),
        "routes": ["/products/{id}"], "rules": RULES, "sample": sample,
    }  # fmt: skip
    stated = {
        "store": {"url": store_url} | sections.pop("store", {}),
        "listen": {"host": "127.0.0.1", **ports},
        "targets": [target],
        "log": {"format": "json"},
    }
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(stated | sections))
    return config, ports


@contextlib.contextmanager
def serving(
    folder: Path, v2_url: str, store: tuple[int, str], name: str = "service", *, program: Sequence[str] = SERVE,
    options: Sequence[str] = (), settings: dict[str, dict[str, Any]] | None = None,
    candidate: dict[str, Any] | None = None, sample: float = 1.0,
) -> Generator[Stand]:  # fmt: skip
    """Run a service over a Redis; `settings` add to the configuration's sections, `candidate` to the target's."""
    redis_pid, url = store
    config, ports = configured(folder, v2_url, url, name, settings=settings, candidate=candidate, sample=sample)
    command = [sys.executable, *program, "serve", "--config", str(config), *options]
    with (
        (folder / "service.log").open("a") as log,
        running(command, f"http://127.0.0.1:{ports['metrics']}/readyz", stderr=log) as pid,
    ):
        yield Stand(ports, pid, redis_pid, url, config)


@contextlib.contextmanager
def stand(folder: Path, v2_url: str, name: str = "service", **options: Any) -> Generator[Stand]:
    """Run a service and a Redis for it, with the options of `serving`."""
    with redis(folder, name) as store, serving(folder, v2_url, store, name, **options) as made:
        yield made


async def measured(pids: Callable[[], Iterable[int]], load: Awaitable[dict[str, int]]) -> tuple[float, float, Any]:
    """Return CPU seconds, wall seconds and answers of one load."""
    cpu, wall = cpu_s(pids()), time.monotonic()
    statuses = await load
    return cpu_s(pids()) - cpu, time.monotonic() - wall, statuses


async def v2(served: Served, prepared: list[bytes] | None = None, after_s: float = 0.0) -> str:
    """Run v2 in this process, with a delay of `after_s`; return its URL."""
    said = prepared or answers(V2_SAID_AT, faults=True)

    def protocol() -> Answering:
        return Late(said, served, after_s) if after_s else Answering(said, served)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def median(rounds: Iterable[Round], name: str, digits: int = 1) -> float:
    """Return the median of one figure over the rounds."""
    return round(statistics.median(one[name] for one in rounds), digits)


def say(line: str) -> None:
    """Print progress to standard error."""
    sys.stderr.write(f"{line}\n")


def run(bench: Callable[[argparse.Namespace, Path], Any], options: argparse.Namespace) -> None:
    """Run a benchmark in a folder of its own, and print its one JSON object; a failure shows the end of the log."""
    with (
        tempfile.TemporaryDirectory(prefix="shadowdiff-bench-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            result = runner.run(bench(options, Path(folder)))
        except SystemExit:
            log = Path(folder) / "service.log"
            say(log.read_text()[-3000:] if log.exists() else "")
            raise
        sys.stdout.write(json.dumps(result) + "\n")


def rounds_of(doc: str | None, *, pairs: int = 10_000, rounds: int = 5) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks of rounds take."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--pairs", type=int, default=pairs, help="pairs a round")
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds of each side")
    parser.add_argument("--json", action="store_true", help="one JSON object (the default)")
    return parser
