"""Everything that the demo runs: v1, v2, the service, and Envoy (or its stand-in) between them.

In: a folder for files and what is wanted.  Out: a scene whose parts answer, with their addresses.
Holds: parts start in the order in which they need each other and stop in the reverse one.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml
from yarl import URL

from shadowdiff.demo.api import TARGET, Api
from shadowdiff.demo.audit import Lost
from shadowdiff.demo.envoy import files, find_envoy, render, run_envoy
from shadowdiff.demo.port import HOST, free_ports
from shadowdiff.demo.process import Child, DemoError, start, stop, wait_ready

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

READY_WITHIN_S = 30.0
WATCH_S = 0.5
ADMIN_S = 10.0
WINDOW_S = 10
USUAL = {"mirror": 8080, "records": 8081, "web": 8082, "metrics": 9090, "users": 10000}
OTHERS = ("inbound", "admin", "v1", "v2", "control")
LEARN = 100
"""Triples that the demo learns v1's noise from; a service would take more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the scene is to be set.

    samples: differing pairs that the service keeps.  journals: whether v1 and v2 write down each answer.
    usual_ports: 8080, 8081, 8082, 9090 and 10000 where they are free; else any.
    envoy: False has the stand-in take its place.  control: whether a second v1 shows the noise, in place of rules.
    """

    samples: int = 1000
    journals: bool = False
    usual_ports: bool = True
    envoy: bool = True
    control: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What runs, and where it is. `moved`: the usual ports that were taken, and what stands in for them."""

    folder: Path
    ports: dict[str, int]
    children: Sequence[Child]
    api: Api
    envoy: Path | None
    session: aiohttp.ClientSession
    moved: dict[str, int]

    def url(self, name: str) -> str:
        """Return the address of a part."""
        return f"http://{HOST}:{self.ports[name]}"

    def journal(self, name: str) -> Path:
        """Return where v1 or v2 writes down its answers."""
        return self.folder / f"{name}.jsonl"

    async def watch(self) -> None:
        """Watch over the children.

        Raises: DemoError as soon as one ends by itself, with the end of its log.
        """
        while True:
            for child in self.children:
                if not child.alive:
                    code = child.process.returncode
                    raise DemoError(f"{child.name} ended with code {code}; {child.log} says:\n{child.tail()}")
            await asyncio.sleep(WATCH_S)

    async def lost(self) -> Lost:
        """Return what Envoy turned away, since a bound of its own was reached; the stand-in counts nothing."""
        found = await self._envoy_counts("upstream_rq_pending_overflow")
        return Lost(found.get("shadowdiff_mirror", 0), found.get("shadowdiff", 0))

    async def on_the_way(self) -> int:
        """Return how many copies, or how many records, whichever is more, Envoy has sent and got no answer to."""
        return max((await self._envoy_counts("upstream_rq_active")).values(), default=0)

    async def _envoy_counts(self, name: str) -> dict[str, int]:
        """Return one of Envoy's figures for both of shadowdiff's clusters."""
        if self.envoy is None:
            return {}
        url = f"{self.url('admin')}/stats?filter=^cluster.shadowdiff.*{name}$&format=json"
        try:
            async with self.session.get(URL(url, encoded=True), timeout=aiohttp.ClientTimeout(total=ADMIN_S)) as answer:
                stats: list[dict[str, Any]] = (await answer.json())["stats"]
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise DemoError(f"Envoy's admin page at {url} gave no answer: {problem!r}") from problem
        return {stat["name"].split(".")[1]: int(stat["value"]) for stat in stats if "name" in stat}


@asynccontextmanager
async def scene(folder: Path, wanted: Wanted) -> AsyncGenerator[Scene]:
    """Start everything; stop everything, whatever happens.

    Raises: DemoError when a part does not come up.
    """
    program = await asyncio.to_thread(find_envoy) if wanted.envoy else None
    ports = choose_ports(usual=wanted.usual_ports)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        children: list[Child] = []

        def run(name: str, *arguments: str) -> Child:
            child = start(name, [sys.executable, "-m", *arguments], folder)
            children.append(child)
            _ = stack.push_async_callback(stop, child)
            return child

        shops = [_start_shop(run, version, ports[version], folder, wanted) for version in _shops(wanted)]
        service = run("shadowdiff", "shadowdiff", "serve", "--config", str(write_config(folder, ports, wanted)))
        for shop in shops:
            await wait_ready(shop, listens(ports[shop.name]), READY_WITHIN_S)
        await wait_ready(service, answers(session, f"http://{HOST}:{ports['metrics']}/readyz"), READY_WITHIN_S)
        if program is None:
            tee = run("tee", *_tee_arguments(ports))
            await wait_ready(tee, listens(ports["users"]), READY_WITHIN_S)
        else:
            configuration = render(files() / "envoy.yaml", placeholders(ports))
            envoy = await run_envoy(program, configuration, f"{HOST}:{ports['admin']}", folder)
            children.append(envoy)
            _ = stack.push_async_callback(stop, envoy)
        api = Api(session, f"http://{HOST}:{ports['web']}")
        moved = {name: ports[name] for name, usual in USUAL.items() if wanted.usual_ports and ports[name] != usual}
        yield Scene(folder, ports, children, api, program, session, moved)


def choose_ports(*, usual: bool) -> dict[str, int]:
    """Return a free port for each part, the usual ones where wanted and free."""
    names = [*USUAL, *OTHERS]
    return dict(zip(names, free_ports([USUAL.get(name, 0) if usual else 0 for name in names]), strict=True))


def configuration_of(ports: dict[str, int], folder: Path, samples: int, *, control: bool = False) -> dict[str, Any]:
    """Return the service's configuration: what a user would write for this v1 and v2, with rules or a control."""
    return {
        "store": {"data_dir": str(folder / "store")},
        "pairing": {"window": f"{WINDOW_S}s"},
        "listen": {
            "host": HOST,
            "web_host": HOST,
            **{name: ports[name] for name in ("mirror", "records", "web", "metrics")},
        },
        "samples": {"keep": samples, "per_fingerprint": samples, "size": "256MiB"},
        "targets": [
            {
                "name": TARGET,
                "hosts": [TARGET],
                "candidate": {"url": f"http://{HOST}:{ports['v2']}", "timeout": "3s", "queue_timeout": "2s"},
                "routes": ["/", "/products/{id}", "/slow", "/orders"],
                "gate": {"max_mismatch_ratio": 0.001, "min_coverage": 0.95},
                **(_noise_shown(ports["control"]) if control else _noise_declared()),
            }
        ],
    }


def _noise_declared() -> dict[str, Any]:
    return {
        "rules": [
            {
                "mask": {"path": "text", "pattern": r"v\d+ from '[^']+': \d+"},
                "routes": ["GET /"],
                "reason": "version, pod and counter differ between any two instances",
            },
            {"ignore": "$.meta.generatedAt", "reason": "the clock of whoever answers"},
        ]
    }


def _noise_shown(port: int) -> dict[str, Any]:
    """Return a control, and no rule at all; it is asked for every request, so that a short demo is enough."""
    return {
        "control": {"url": f"http://{HOST}:{port}", "sample": 1.0, "timeout": "3s"},
        "noise": {"learn": LEARN},
    }


def write_config(folder: Path, ports: dict[str, int], wanted: Wanted) -> Path:
    """Write the service's configuration, and return where it is."""
    file = folder / "shadowdiff.yaml"
    _ = file.write_text(
        yaml.safe_dump(configuration_of(ports, folder, wanted.samples, control=wanted.control), sort_keys=False)
    )
    return file


def _shops(wanted: Wanted) -> tuple[str, ...]:
    return ("v1", "v2", "control") if wanted.control else ("v1", "v2")


def _start_shop(run: Callable[..., Child], name: str, port: int, folder: Path, wanted: Wanted) -> Child:
    """Start v1, v2, or the control, which is a v1."""
    version = "v2" if name == "v2" else "v1"
    arguments = ["shadowdiff.demo.shop", "--version", version, "--port", str(port)]
    if wanted.journals:
        arguments += ["--journal", str(folder / f"{name}.jsonl")]
    if wanted.control:
        arguments.append("--noisy")
    return run(name, *arguments)


def placeholders(ports: dict[str, int]) -> dict[str, str | int]:
    """Return the values of the Envoy template."""
    return {
        "LISTEN_ADDRESS": HOST,
        "CLIENT_PORT": ports["users"],
        "INBOUND_PORT": ports["inbound"],
        "ADMIN_PORT": ports["admin"],
        "V1_ADDRESS": HOST,
        "V1_PORT": ports["v1"],
        "SHADOWDIFF_ADDRESS": HOST,
        "MIRROR_PORT": ports["mirror"],
        "RECORDS_PORT": ports["records"],
        "RECORD_LUA": str(files() / "record.lua"),
    }


def _tee_arguments(ports: dict[str, int]) -> list[str]:
    urls = {"--v1": "v1", "--mirror": "mirror", "--records": "records"}
    named = [part for option, name in urls.items() for part in (option, f"http://{HOST}:{ports[name]}")]
    return ["shadowdiff.demo.tee", "--port", str(ports["users"]), *named]


def listens(port: int) -> Callable[[], Awaitable[bool]]:
    """Return a check that a port takes connections; no request is made that would be counted."""

    async def check() -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            return False
        writer.close()
        return True

    return check


def answers(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bool]]:
    """Return a check that an address answers 200."""

    async def check() -> bool:
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=1)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return check
