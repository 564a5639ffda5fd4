"""A receiver of webhooks: a real HTTP server that notes what it is told, and stumbles as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Post(NamedTuple):
    """What was posted: the headers by lower-case name, the body, and what it says."""

    headers: dict[str, str]
    body: bytes
    said: dict[str, Any]


class Office:
    """A receiver that notes what it is told, and answers as the test says."""

    def __init__(self, *statuses: int) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.statuses = list(statuses)

    async def answer(self, request: web.Request) -> web.Response:
        """Note a post."""
        self.posts.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else {})

    async def until(self, count: int) -> None:
        """Wait for so many posts."""
        async with asyncio.timeout(20):
            while len(self.posts) < count:  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.01)

    def told(self, event: str) -> list[Post]:
        """Return the posts of an event."""
        posts = [Post(headers, body, json.loads(body)) for headers, body in self.posts]
        return [post for post in posts if post.said["event"] == event]

    async def until_told(self, *events: str) -> None:
        """Wait until each of these was told, and the answers that stumble are used up."""
        async with asyncio.timeout(60):
            while self.statuses or not all(self.told(event) for event in events):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def opened(office: Office) -> AsyncGenerator[str]:
    """Serve an office; yield its address."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", office.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook/s3cret"
    finally:
        await runner.cleanup()
