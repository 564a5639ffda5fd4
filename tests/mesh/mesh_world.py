"""Run a mesh on this machine: v1, a stub of shadowdiff, and a real Envoy that connects them.

Envoy runs the repository's own configuration files on free ports. All processes stop at the end of the test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from aiohttp import ClientSession, web

from shadowdiff.demo.envoy import files, find_envoy, render, run_envoy
from shadowdiff.demo.process import HOST, Child, free_ports, stop

if TYPE_CHECKING:
    from pathlib import Path

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY_BYTES = 64 << 20
WAIT_S = 20.0


class Arrived(NamedTuple):
    """A request to the mirror port or the records port."""

    method: str
    path: str
    headers: Mapping[str, str]
    pairs: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header."""
        return self.headers[f"x-shadowdiff-{name}"]

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.pairs if key == name]


@dataclass(slots=True)
class Stub:
    """A stub of the service that accepts and stores copies and records."""

    mirrored: list[Arrived] = field(default_factory=list[Arrived])
    records: list[Arrived] = field(default_factory=list[Arrived])
    broken: int = 0

    async def mirror(self, request: web.Request) -> web.Response:
        """Read a copy completely, then acknowledge the copy."""
        try:
            self.mirrored.append(await _arrived(request))
        except (ConnectionError, web.RequestPayloadError):
            self.broken += 1
            raise
        return web.Response(status=202)

    async def record(self, request: web.Request) -> web.Response:
        """Accept one record."""
        self.records.append(await _arrived(request))
        return web.Response(status=202)

    async def recorded(self, count: int) -> list[Arrived]:
        """Wait for the given number of records, and return the records."""
        await until(lambda: len(self.records) >= count, f"{count} records")
        return self.records

    async def copied(self, count: int) -> list[Arrived]:
        """Wait for the given number of copies, and return the copies."""
        await until(lambda: len(self.mirrored) >= count, f"{count} copies")
        return self.mirrored


async def _arrived(request: web.Request) -> Arrived:
    pairs = tuple((name.lower(), value) for name, value in request.headers.items())
    return Arrived(request.method, request.raw_path, dict(pairs), pairs, await request.read())


async def until(happened: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
    """Wait for a condition. After the timeout, fail with the condition's name."""
    deadline = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[int]:
    """Serve every path with one handler, and yield the port."""
    app = web.Application(client_max_size=BODY_BYTES)
    _ = app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, max_line_size=65536, max_field_size=65536, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def envoy_program() -> Path:
    """Return the path of a real Envoy, or skip the test if Envoy cannot run on this machine."""
    program = find_envoy()
    if program is None:
        pytest.skip("no Envoy runs on this machine")
    return program


@dataclass(frozen=True, slots=True)
class World:
    """A running mesh."""

    client: str
    inbound: str
    admin: str
    stub: Stub
    user: ClientSession
    envoy: Child

    async def statistic(self, name: str) -> int:
        """Return one of Envoy's own counters."""
        async with self.user.get(f"http://{self.admin}/stats?filter=^{name}$&format=json") as answer:
            return int((await answer.json())["stats"][0]["value"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The changes to Envoy's configuration files.

    lua: replacements in record.lua, for settings that users edit. ports: the ports of a mirror and a recorder that the
    test runs. v1: the port of a v1 that the test runs, instead of a handler. change: a function that changes Envoy's
    whole configuration.
    """

    template: str = "envoy.yaml"
    lua: Mapping[str, str] = field(default_factory=dict[str, str])
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    ports: tuple[int, int] | None = None
    v1: int | None = None
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None


@asynccontextmanager
async def mesh(v1: Handler, folder: Path, plan: Plan | None = None) -> AsyncGenerator[World]:
    """Run v1, the stub, and an Envoy that connects them."""
    plan = plan or Plan()
    program, stub = envoy_program(), Stub()
    async with AsyncExitStack() as stack:
        v1_port = plan.v1 or await stack.enter_async_context(serving(v1))
        mirror, records = plan.ports or (
            await stack.enter_async_context(serving(stub.mirror)),
            await stack.enter_async_context(serving(stub.record)),
        )
        client, inbound, admin = free_ports([0, 0, 0])
        lua = folder / "record.lua"
        _ = lua.write_text(edited((files() / "record.lua").read_text(), plan.lua))
        values = {
            "LISTEN_ADDRESS": HOST, "CLIENT_PORT": client, "INBOUND_PORT": inbound, "ADMIN_PORT": admin,
            "V1_ADDRESS": HOST, "V1_PORT": v1_port, "SHADOWDIFF_ADDRESS": HOST,
            "MIRROR_PORT": mirror, "RECORDS_PORT": records, "RECORD_LUA": str(lua),
        }  # fmt: skip
        configuration = edited(render(files() / plan.template, values), plan.config)
        if plan.change is not None:
            configuration = yaml.safe_dump(plan.change(yaml.safe_load(configuration)))
        envoy = await run_envoy(program, configuration, f"{HOST}:{admin}", folder)
        _ = stack.push_async_callback(stop, envoy)
        user = await stack.enter_async_context(ClientSession(auto_decompress=False))
        yield World(f"http://{HOST}:{client}", f"http://{HOST}:{inbound}", f"{HOST}:{admin}", stub, user, envoy)


def edited(text: str, replacements: Mapping[str, str]) -> str:
    """Replace texts, and fail if a text to replace is missing."""
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    return text
