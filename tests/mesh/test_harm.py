"""Behind a real Envoy, v1's users see no errors if shadowdiff or its Redis hangs, dies, rejects, is full or is slow."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

import aiohttp
import pytest
from aiohttp import web
from mesh_world import Plan, mesh

from shadowdiff.demo.process import HOST, free_ports
from tests.faults.load import sheds
from tests.faults.outage import How, Outage, made_durable
from tests.integration.service.conftest import serving, settings, target
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import RedisLink

REQUESTS = 2000
AT_ONCE = 20
BODY = b'{"sku":"SD-1"}' * 100


async def _v1(_: web.Request) -> web.StreamResponse:
    return web.Response(body=BODY)


@asynccontextmanager
async def _dead() -> AsyncGenerator[int]:
    """Return a port without a listener."""
    yield free_ports([0])[0]


@asynccontextmanager
async def _hung() -> AsyncGenerator[int]:
    """Accept connections in the kernel and never read from them, like a stopped process."""
    with socket.create_server((HOST, 0), backlog=4096) as server:
        yield server.getsockname()[1]


@asynccontextmanager
async def _resetting() -> AsyncGenerator[int]:
    """Reset each connection when its first bytes arrive."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _ = await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(reset, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


STATES = {"dead": _dead, "hung": _hung, "resetting": _resetting}


@pytest.mark.parametrize("state", STATES)
async def test_users_see_no_error_and_whole_bodies(state: str, tmp_path: Path) -> None:
    """All 2,000 requests get status 200 and the whole body, although the mirror and records ports fail."""
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
    """A body within Envoy's buffer limit reaches v1 immediately, although the mirror port never reads the copy."""

    async def measure(request: web.Request) -> web.StreamResponse:
        return web.Response(text=str(len(await request.read())))

    async with AsyncExitStack() as stack:
        ports = (await stack.enter_async_context(STATES[state]()), await stack.enter_async_context(STATES[state]()))
        world = await stack.enter_async_context(mesh(measure, tmp_path, Plan(ports=ports)))
        async with asyncio.timeout(10), world.user.post(world.client, data=b"u" * 500_000) as answer:
            got = await answer.text()

    assert got == "500000"


QUEUE = 1000
"""Smaller than the number of observations that arrive while Redis is unavailable."""
PAIRS = 50
PACE_S = 0.02
"""The time between two requests of a user: short enough to fill the queue, long enough for a busy machine."""


@dataclass
class Users:
    """Sends requests until stopped, and stores every response that is not a 200 with a whole body."""

    url: str
    session: aiohttp.ClientSession
    over: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    wrong: list[str] = field(default_factory=list[str])

    async def ask(self) -> None:
        """Send the requests of one user."""
        while not self.over.is_set():
            try:
                async with self.session.get(self.url) as answer:
                    if answer.status != 200 or await answer.read() != BODY:
                        self.wrong.append(f"status {answer.status}")
            except (aiohttp.ClientError, OSError) as error:
                self.wrong.append(repr(error))
            self.asked += 1
            await asyncio.sleep(PACE_S)


@pytest.mark.parametrize("how", get_args(How))
async def test_users_see_no_error_while_redis_fails(
    how: How, link: RedisLink, own_redis: OwnRedis, tmp_path: Path
) -> None:
    """The service loses Redis, sheds requests, and recovers. No user gets an error."""
    await made_durable(own_redis)
    outage = Outage(how, link, own_redis)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(v2(always(response(BODY))))
        config = settings(link.url, target(port, hosts=[HOST]), store={"queue": QUEUE}, pairing={"window": "5s"})
        here = await stack.enter_async_context(serving(tmp_path, config))
        service = here.service
        plan = Plan(ports=(service.ports["mirror"], service.ports["records"]))
        world = await stack.enter_async_context(mesh(_v1, tmp_path, plan))
        users = Users(f"{world.client}/x", world.user)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(users.ask())
            try:
                await service.until(lambda books: books["pairs"]["ready"] >= PAIRS)
                asked, calls, shed = users.asked, link.calls, (await sheds(here)).total()

                async def is_harmed() -> bool:
                    if how == "is slow":
                        return link.calls > calls + PAIRS
                    return (await sheds(here)).total() > shed + PAIRS

                await outage.begin()
                async with asyncio.timeout(60):
                    while users.asked < asked + REQUESTS or not await is_harmed():  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                await outage.end()
                before = (await service.until(lambda _: True))["pairs"]["ready"]
                await service.until(lambda books: books["pairs"]["ready"] > before + PAIRS)
            finally:
                users.over.set()
        answered = await world.statistic("http.client.downstream_rq_2xx")

    assert [] == users.wrong
    assert users.asked == answered
