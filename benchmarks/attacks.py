"""Measure the latencies of health, mirror and records while requests and bodies cause unbounded work.

One service and its Redis meet one attack after another, after a period without attacks. All three ports get requests
in turn while an attack runs, and for at least `--seconds`.
Prints one JSON object: for each attack the latencies in milliseconds, the results, and the peak memory.
Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from aiohttp import web
from attack_bodies import ATTACKS, JSON, LIMITS, REQUESTS, RULES
from rig import SERVE, TARGET, Stand, configured, redis, rss_mib, run, running, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

SMALL = b'{"side": "v2"}'
SETTLED_WITHIN_S = 300.0
PAUSE_S = 0.01


@dataclass
class Figures:
    """The latencies of each port."""

    latencies_ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    statuses: Counter[str] = field(default_factory=Counter[str])
    peak_mib: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures for printing."""
        said: dict[str, Any] = {}
        for port, latencies in self.latencies_ms.items():
            ordered = sorted(latencies)
            at = {"p50": len(ordered) // 2, "p99": min(len(ordered) - 1, len(ordered) * 99 // 100), "max": -1}
            said[port] = {name: round(ordered[index], 1) for name, index in at.items()}
        return said | {
            "rounds": len(self.latencies_ms["health"]),
            "statuses": dict(self.statuses),
            "peak_mib": round(self.peak_mib),
        }


class Mesh:
    """Sends both halves of pairs, and health probes."""

    def __init__(self, stand: Stand, session: aiohttp.ClientSession) -> None:
        self._stand = stand
        self._session = session

    def url(self, port: str, path: str) -> str:
        """Return a URL."""
        return f"http://127.0.0.1:{self._stand.ports[port]}{path}"

    async def health(self) -> int:
        """Send a health probe."""
        async with self._session.get(self.url("metrics", "/healthz")) as answer:
            return answer.status

    async def mirror(self, request_id: str, path: str) -> int:
        """Send a mirrored request."""
        headers = {"host": f"{TARGET}-shadow:8080", "x-diff-id": request_id, "x-request-id": request_id}
        async with self._session.get(self.url("mirror", path), headers=headers) as answer:
            return answer.status

    async def record(self, request_id: str, path: str, body: bytes, kind: str, coding: str = "identity") -> int:
        """Send the record of v1's response."""
        stated = {
            "id": request_id, "id-source": "x-diff-id", "method": "GET", "path": path, "host": f"{TARGET}:8080",
            "status": "200", "size": str(len(body)), "attempt": "1", "duration-ms": "2", "h-content-type": kind,
            "h-content-encoding": coding,
        }  # fmt: skip
        headers = {f"x-shadowdiff-{name}": value for name, value in stated.items()}
        async with self._session.post(self.url("records", "/record"), data=body, headers=headers) as answer:
            return answer.status

    async def preview(self, rules: list[dict[str, Any]]) -> str:
        """Preview rules; return the status."""
        asked = {"target": TARGET, "rules": rules}
        async with self._session.post(self.url("web", "/api/v1/rules/preview?limit=1000"), json=asked) as answer:
            await answer.read()
            return f"preview {answer.status}"

    async def pairs(self, name: str) -> str:
        """Send the pairs of an attack; return their results. Small pairs always match."""
        attack = ATTACKS[name]
        before = (await asyncio.to_thread(self._stand.ledger))["pairs"]
        for number in range(attack.pairs):
            await self.record(f"{name}-{number}", f"/{name}", attack.v1, attack.kind, attack.coding)
            await self.mirror(f"{name}-{number}", f"/{name}")
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while time.monotonic() < deadline:
            books = await asyncio.to_thread(self._stand.ledger)
            came = {one: books["pairs"][one] - before[one] for one in ("ignored", "mismatch", "incomparable")}
            if sum(came.values()) >= attack.pairs:
                return ", ".join(f"{count} {result}" for result, count in came.items() if count)
            await asyncio.sleep(0.1)
        raise SystemExit(f"the pairs of {name} are pending after {SETTLED_WITHIN_S:g} s")


async def watched(mesh: Mesh, stand: Stand, name: str, attack: Awaitable[str], seconds: float) -> dict[str, Any]:
    """Measure the ports while an attack runs; return the figures."""
    figures = Figures()
    at_work = asyncio.ensure_future(attack)
    until_s = time.monotonic() + seconds
    number = 0
    while not at_work.done() or time.monotonic() < until_s:
        number += 1
        small = f"{name}-small-{number}"
        asks: dict[str, Callable[[], Awaitable[int]]] = {
            "health": mesh.health,
            "records": lambda small=small: mesh.record(small, "/small", SMALL, JSON),
            "mirror": lambda small=small: mesh.mirror(small, "/small"),
        }
        for port, ask in asks.items():
            begun_s = time.monotonic()
            status = await ask()
            figures.latencies_ms.setdefault(port, []).append((time.monotonic() - begun_s) * 1000)
            figures.statuses[f"{port} {status}"] += 1
        figures.peak_mib = max(figures.peak_mib, rss_mib(stand.pids()))
        await asyncio.sleep(PAUSE_S)
    return figures.as_json() | {"came": await at_work}


async def serve_v2() -> tuple[web.AppRunner, int]:
    """Serve v2's responses."""

    async def answer(request: web.Request) -> web.Response:
        attack = ATTACKS.get(request.path.strip("/"))
        body, kind = (attack.v2, attack.kind) if attack else (SMALL, JSON)
        coding = attack.coding if attack else "identity"
        return web.Response(body=body, headers={"content-type": kind, "content-encoding": coding})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run every attack."""
    runner, port = await serve_v2()
    results: dict[str, Any] = {}
    with redis(folder) as (redis_pid, url):
        config, ports = configured(folder, f"http://127.0.0.1:{port}", url, settings={"limits": dict(LIMITS)})
        stated = yaml.safe_load(config.read_text())
        stated["targets"][0] |= {"rules": RULES, "routes": []}
        config.write_text(yaml.safe_dump(stated))
        command = [sys.executable, *SERVE, "serve", "--config", str(config)]
        with (
            (folder / "service.log").open("a") as log,
            running(command, f"http://127.0.0.1:{ports['metrics']}/readyz", stderr=log) as pid,
        ):
            stand = Stand(ports, pid, redis_pid, url, config)
            async with aiohttp.ClientSession() as session:
                mesh = Mesh(stand, session)

                async def nothing() -> str:
                    return ""

                attacks: dict[str, Callable[[], Awaitable[str]]] = {"none": nothing}
                attacks |= {name: lambda name=name: mesh.pairs(name) for name in ATTACKS}
                attacks |= {f"try {name}": lambda rules=rules: mesh.preview(rules) for name, rules in REQUESTS.items()}
                for name, attack in attacks.items():
                    if options.only and name not in options.only:
                        continue
                    say(name)
                    results[name] = await watched(mesh, stand, name, attack(), options.seconds)
    await runner.cleanup()
    return results


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each attack, at least")
    parser.add_argument("--only", action="append", help="an attack by its name; may be given again")
    parser.add_argument("--json", action="store_true", help="one JSON object (the default)")
    run(bench, parser.parse_args())


if __name__ == "__main__":
    main()
