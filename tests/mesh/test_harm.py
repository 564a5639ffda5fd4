"""v1's users with shadowdiff hung, dead, refusing or slow: through a real Envoy nobody notices."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from mesh_world import Plan, mesh

from shadowdiff.demo.port import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

REQUESTS = 2000
AT_ONCE = 20
BODY = b'{"sku":"SD-1"}' * 100


async def _v1(_: web.Request) -> web.StreamResponse:
    return web.Response(body=BODY)


@asynccontextmanager
async def _dead() -> AsyncGenerator[int]:
    """Listen nowhere."""
    yield free_ports([0])[0]


@asynccontextmanager
async def _hung() -> AsyncGenerator[int]:
    """Accept in the kernel and never read, as a process that was stopped."""
    with socket.create_server((HOST, 0), backlog=4096) as server:
        yield server.getsockname()[1]


@asynccontextmanager
async def _resetting() -> AsyncGenerator[int]:
    """Close each connection as soon as it speaks."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(reset, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


STATES = {"dead": _dead, "hung": _hung, "resetting": _resetting}


@pytest.mark.parametrize("state", STATES)
async def test_users_see_no_error_and_whole_bodies(state: str, tmp_path: Path) -> None:
    """2,000 requests with mirror and recorder away: each is answered 200 with its whole body."""
    wrong: list[str] = []
    async with AsyncExitStack() as stack:
        ports = (await stack.enter_async_context(STATES[state]()), await stack.enter_async_context(STATES[state]()))
        world = await stack.enter_async_context(mesh(_v1, tmp_path, Plan(ports=ports)))

        async def ask(count: int) -> None:
            for _ in range(count):
                async with world.user.get(f"{world.client}/x") as answer:
                    if answer.status != 200 or await answer.read() != BODY:
                        wrong.append(f"status {answer.status}")

        _ = await asyncio.gather(*(ask(REQUESTS // AT_ONCE) for _ in range(AT_ONCE)))
        asked = await world.statistic("http.client.downstream_rq_2xx")
        open_posts = await world.statistic("cluster.shadowdiff.upstream_cx_active")

    assert ([], REQUESTS) == (wrong, asked)
    assert open_posts <= 32


@pytest.mark.parametrize("state", ["hung"])
async def test_a_large_upload_is_not_held_up_by_a_mirror_that_does_not_read(state: str, tmp_path: Path) -> None:
    """A body within Envoy's buffer limit reaches v1 at once, although the copy is never read."""

    async def measure(request: web.Request) -> web.StreamResponse:
        return web.Response(text=str(len(await request.read())))

    async with AsyncExitStack() as stack:
        ports = (await stack.enter_async_context(STATES[state]()), await stack.enter_async_context(STATES[state]()))
        world = await stack.enter_async_context(mesh(measure, tmp_path, Plan(ports=ports)))
        async with asyncio.timeout(10), world.user.post(world.client, data=b"u" * 500_000) as answer:
            got = await answer.text()

    assert got == "500000"
