"""A webhook receiver: a real HTTP server that records every POST request and responds with the test's statuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Post(NamedTuple):
    """One POST request: headers by lower-case name, the body, and its JSON."""

    headers: dict[str, str]
    body: bytes
    json: dict[str, Any]


class WebhookReceiver:
    """Records POST requests, and responds with the given statuses, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.statuses = list(statuses)

    async def answer(self, request: web.Request) -> web.Response:
        """Record a POST request."""
        self.posts.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else {})

    async def until(self, count: int) -> None:
        """Wait for the given number of POST requests."""
        async with asyncio.timeout(60):
            while len(self.posts) < count:  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.01)

    def received(self, event: str) -> list[Post]:
        """Return the POST requests that report one event."""
        posts = [Post(headers, body, json.loads(body)) for headers, body in self.posts]
        return [post for post in posts if post.json["event"] == event]

    async def until_received(self, *events: str) -> None:
        """Wait until every event has arrived and the receiver has sent all given statuses."""
        async with asyncio.timeout(60):
            while self.statuses or not all(self.received(event) for event in events):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def serving_receiver(receiver: WebhookReceiver) -> AsyncGenerator[str]:
    """Run a receiver, and yield the receiver's URL."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook/s3cret"
    finally:
        await runner.cleanup()
