"""Run the parts of the demo: v1, v2, the service, and Envoy (or the tee) between them.

Parts start in the order in which they depend on each other, and stop in reverse order.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from string import Template
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from shadowdiff.demo.api import TARGET, Api
from shadowdiff.demo.audit import ProxyDrops
from shadowdiff.demo.envoy import files, find_envoy, render, responds, run_envoy
from shadowdiff.demo.process import HOST, Child, DemoError, free_ports, start, stop, wait_ready
from shadowdiff.store.embedded_redis import NO_SERVER
from shadowdiff.store.embedded_server import find_servers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

READY_WITHIN_S = 30.0
WATCH_S = 0.5
ADMIN_S = 10.0
WINDOW_S = 10
USUAL_PORTS = {"mirror": 8080, "records": 8081, "web": 8082, "metrics": 9090, "users": 10000}
OTHER_PARTS = ("inbound", "admin", "v1", "v2", "control")
IN_MEMORY = ("shadowdiff.demo.memory_store",)
LEARN = 100
"""Number of triples from which the demo learns v1's noise; a real service needs more."""
CONFIG = Template("""\
store: {data_dir: $store}
pairing: {window: ${window_s}s}
listen: {host: $host, web_host: $host, mirror: $mirror, records: $records, web: $web, metrics: $metrics}
samples: {keep: $samples, per_fingerprint: $samples, size: 256MiB}
targets:
- name: $target
  hosts: [$target]
  candidate: {url: "http://$host:$v2", timeout: 3s, queue_timeout: 2s}
  routes: ["/", "/products/{id}", "/slow", "/orders"]
  gate: {max_mismatch_ratio: 0.001, min_coverage: 0.95}
""")
RULES = r"""
  rules:
  - mask: {path: text, pattern: "v\\d+ from '[^']+': \\d+"}
    routes: ["GET /"]
    reason: version, pod and counter differ between any two instances
  - ignore: $.meta.generatedAt
    reason: the clock of the responding server
"""
CONTROL = Template("""
  control: {url: "http://$host:$control", sample: 1.0, timeout: 3s}  # every request, so that a short demo is enough
  noise: {learn: $learn}
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The options of a demo.

    once: end with a check, for which v1 and v2 log each response; if False, run until stopped.
    count: number of requests; None for no limit.  rate: requests per second.  samples: number of samples to store.
    usual_ports: use 8080, 8081, 8082, 9090 and 10000 if they are free.  envoy: False runs the Python tee instead.
    control: use a second v1 that shows the noise, instead of rules.
    """

    once: bool = False
    count: int | None = None
    rate: float = 200.0
    seed: int = 1
    samples: int = 1000
    usual_ports: bool = True
    envoy: bool = True
    control: bool = False


@dataclass(frozen=True, slots=True)
class Environment:
    """The running parts.  moved: the parts whose usual port is in use, with their actual port."""

    folder: Path
    ports: dict[str, int]
    children: Sequence[Child]
    api: Api
    envoy: Path | None
    session: aiohttp.ClientSession
    moved: dict[str, int]
    is_in_memory: bool

    def url(self, name: str) -> str:
        """Return the address of a part."""
        return f"http://{HOST}:{self.ports[name]}"

    def journal(self, name: str) -> Path:
        """Return the journal of v1 or v2."""
        return self.folder / f"{name}.jsonl"

    async def watch(self) -> None:
        """Watch the children. Raises: DemoError with the end of the log if a child exits unexpectedly."""
        while True:
            for child in self.children:
                child.check_alive()
            await asyncio.sleep(WATCH_S)

    async def drops(self) -> ProxyDrops:
        """Return the numbers of copies and records that Envoy dropped at its limits; zeros for the tee."""
        found = await self._envoy_counts("upstream_rq_pending_overflow")
        return ProxyDrops(found.get("shadowdiff_mirror", 0), found.get("shadowdiff", 0))

    async def in_flight(self) -> int:
        """Return the number of copies or of records in flight in Envoy, whichever is larger."""
        return max((await self._envoy_counts("upstream_rq_active")).values(), default=0)

    async def _envoy_counts(self, name: str) -> dict[str, int]:
        if self.envoy is None:
            return {}
        url = f"{self.url('admin')}/stats?filter=^cluster.shadowdiff.*{name}$&format=json"
        timeout = aiohttp.ClientTimeout(total=ADMIN_S)
        try:
            async with self.session.get(URL(url, encoded=True), timeout=timeout) as response:
                stats: list[dict[str, Any]] = (await response.json())["stats"]
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise DemoError(f"Envoy's admin page at {url} did not respond: {problem!r}") from problem
        return {stat["name"].split(".")[1]: int(stat["value"]) for stat in stats if "name" in stat}


@asynccontextmanager
async def run_environment(folder: Path, options: DemoOptions) -> AsyncGenerator[Environment]:
    """Start all parts, and stop them at the end. Raises: DemoError if a part does not start."""
    program = await asyncio.to_thread(find_envoy) if options.envoy else None
    serve = await asyncio.to_thread(serve_command)
    ports = choose_ports(usual=options.usual_ports)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        children: list[Child] = []

        def run(name: str, *arguments: str) -> Child:
            child = start(name, [sys.executable, "-m", *arguments], folder)
            children.append(child)
            _ = stack.push_async_callback(stop, child)
            return child

        shops: list[Child] = []
        for name, version in {"v1": "v1", "v2": "v2", **({"control": "v1"} if options.control else {})}.items():
            arguments = ["--version", version, "--port", str(ports[name])]
            arguments += ["--journal", str(folder / f"{name}.jsonl")] if options.once else []
            arguments += ["--noisy"] if options.control else []
            shops.append(run(name, "shadowdiff.demo.shop", *arguments))
        service = run("shadowdiff", *serve, "--config", str(write_config(folder, ports, options)))
        for shop in shops:
            await wait_ready(shop, listens(ports[shop.name]), READY_WITHIN_S)
        await wait_ready(service, responds(session, f"http://{HOST}:{ports['metrics']}/readyz"), READY_WITHIN_S)
        if program is None:
            urls = {f"--{name}": f"http://{HOST}:{ports[name]}" for name in ("v1", "mirror", "records")}
            tee = run("tee", "shadowdiff.demo.tee", "--port", str(ports["users"]), *chain(*urls.items()))
            await wait_ready(tee, listens(ports["users"]), READY_WITHIN_S)
        else:
            configuration = render(files() / "envoy.yaml", placeholders(ports))
            envoy = await run_envoy(program, configuration, f"{HOST}:{ports['admin']}", folder)
            children.append(envoy)
            _ = stack.push_async_callback(stop, envoy)
        api = Api(session, f"http://{HOST}:{ports['web']}")
        moved = {name: ports[name] for name, usual in USUAL_PORTS.items() if ports[name] != usual}
        moved = moved if options.usual_ports else {}
        yield Environment(folder, ports, children, api, program, session, moved, is_in_memory=serve == IN_MEMORY)


def serve_command() -> tuple[str, ...]:
    """Return the module that serves with Redis or, if there is no Redis, with a store in memory. Raises: DemoError."""
    if find_servers():
        return "shadowdiff", "serve"
    if find_spec("fakeredis") is None:
        raise DemoError(f"{NO_SERVER}; or install shadowdiff[demo], which has a store in memory")
    return IN_MEMORY


def choose_ports(*, usual: bool) -> dict[str, int]:
    """Return a free port for each part."""
    names = [*USUAL_PORTS, *OTHER_PARTS]
    return dict(zip(names, free_ports([USUAL_PORTS.get(name, 0) if usual else 0 for name in names]), strict=True))


def write_config(folder: Path, ports: dict[str, int], options: DemoOptions) -> Path:
    """Write a configuration for this v1 and v2, with rules or a control. Return its path."""
    file = folder / "shadowdiff.yaml"
    values = {**ports, "host": HOST, "target": TARGET, "window_s": WINDOW_S, "samples": options.samples, "learn": LEARN}
    text = CONFIG.substitute(values, store=json.dumps(str(folder / "store")))
    _ = file.write_text(text + (CONTROL.substitute(values) if options.control else RULES))
    return file


def placeholders(ports: dict[str, int]) -> dict[str, str | int]:
    """Return the values for the Envoy template."""
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


def listens(port: int) -> Callable[[], Awaitable[bool]]:
    """Return a check that a port accepts connections. The check sends no request, so nothing is counted."""

    async def check() -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            return False
        writer.close()
        return True

    return check
