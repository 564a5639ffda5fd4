"""A stand-in for Envoy, where none runs: it mirrors and records as the two listeners do.

In: `python -m shadowdiff.demo.tee --port P --v1 URL --mirror URL --records URL`.  Out: v1, with both halves sent on.
Holds: the user's answer goes out before anything is sent to shadowdiff, and what fails there is counted, not shown.
Not for production: it holds each body whole in memory.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import click
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from shadowdiff.demo.port import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

OPEN_AT_MOST = 512
POST_WITHIN_S = 5.0
ASK_WITHIN_S = 15.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"})


class Tee:
    """One request in, one to v1, a copy and a record to shadowdiff."""

    def __init__(self, v1: str, mirror: str, records: str) -> None:
        self._v1, self._mirror, self._records = v1, mirror, records
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, app: web.Application) -> AsyncGenerator[None]:
        """Hold the client and the tasks for as long as the application runs."""
        timeout = aiohttp.ClientTimeout(total=ASK_WITHIN_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            asyncio.TaskGroup() as group,
        ):
            app[SESSION], app[GROUP] = session, group
            yield

    async def handle(self, request: web.Request) -> web.Response:
        """Answer as v1 does."""
        session, body = request.app[SESSION], await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        if "x-request-id" not in request.headers:
            headers["x-request-id"] = str(uuid.uuid4())
        headers["x-diff-id"] = str(uuid.uuid4())
        began = time.perf_counter()
        try:
            async with session.request(request.method, _raw(self._v1, request), headers=headers, data=body) as got:
                content = await got.read()
        except (aiohttp.ClientError, TimeoutError) as problem:
            return web.Response(status=503, text=f"v1 gave no answer: {problem}")
        record = _record(request, headers, got, len(content), (time.perf_counter() - began) * 1000)
        copy = Post(request.method, _raw(self._mirror, request), headers, body)
        self._later(request.app[GROUP], session, (copy, Post("POST", URL(self._records + "/record"), record, content)))
        kept = [(name, value) for name, value in got.headers.items() if name.lower() not in HOP_BY_HOP]
        return web.Response(status=got.status, body=content, headers=CIMultiDict(kept))

    def _later(self, group: asyncio.TaskGroup, session: aiohttp.ClientSession, posts: tuple[Post, Post]) -> None:
        """Send both halves when there is room; nobody waits for either."""
        if len(self._tasks) < OPEN_AT_MOST:
            task = group.create_task(_tell(session, posts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class Post(NamedTuple):
    """What goes to shadowdiff."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes


async def _tell(session: aiohttp.ClientSession, posts: tuple[Post, ...]) -> None:
    """Send what is to be sent; what fails is lost, as it is with Envoy."""
    for post in posts:
        try:
            async with (
                asyncio.timeout(POST_WITHIN_S),
                session.request(post.method, post.url, headers=post.headers, data=post.body) as answer,
            ):
                _ = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            continue


SESSION = web.AppKey("SESSION", aiohttp.ClientSession)
GROUP = web.AppKey("GROUP", asyncio.TaskGroup)


def _record(
    request: web.Request, headers: Mapping[str, str], got: aiohttp.ClientResponse, size: int, took_ms: float
) -> CIMultiDict[str]:
    """Return what the Lua filter would say of the answer."""
    said = {
        "id": headers["x-diff-id"],
        "id-source": "x-diff-id",
        "method": request.method,
        "path": request.raw_path,
        "host": request.host,
        "status": str(got.status),
        "side": "primary",
        "size": str(size),
        "attempt": "1",
        "duration-ms": f"{took_ms:.3f}",
    }
    record = CIMultiDict({"content-type": "application/octet-stream"})
    record.extend((f"x-shadowdiff-{name}", value) for name, value in said.items())
    record.extend((f"x-shadowdiff-h-{name.lower()}", value) for name, value in got.headers.items())
    return record


def _raw(base: str, request: web.Request) -> URL:
    """Return an address with the path and query as the user wrote them."""
    return URL(base + request.raw_path, encoded=True)


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--v1", required=True)
@click.option("--mirror", required=True)
@click.option("--records", required=True)
def main(port: int, v1: str, mirror: str, records: str) -> None:
    """Serve until told to stop."""
    tee = Tee(v1, mirror, records)
    app = web.Application(client_max_size=1 << 30)
    app.cleanup_ctx.append(tee.run)
    _ = app.router.add_route("*", "/{path:.*}", tee.handle)
    web.run_app(app, host=HOST, port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
