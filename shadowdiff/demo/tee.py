"""A stand-in for Envoy: `python -m shadowdiff.demo.tee --port P --v1 URL --mirror URL --records URL`.

The user gets the response before anything is sent to shadowdiff. A copy or record that fails is lost, as with Envoy.
Do not use the tee in production, because it holds each body in memory.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import click
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from shadowdiff.demo.process import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

MAX_OPEN_TASKS = 512
SHADOWDIFF_TIMEOUT_S = 5.0
V1_TIMEOUT_S = 15.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"})


Outgoing = tuple[str, URL, Mapping[str, str], bytes]
"""A request to shadowdiff: method, address, headers and body."""


class Tee:
    """Sends each request to v1, then a copy and a record to shadowdiff."""

    def __init__(self, v1: str, mirror: str, records: str) -> None:
        self._v1, self._mirror, self._records = v1, mirror, records
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, _app: web.Application) -> AsyncGenerator[None]:
        """Keep the client and the task group open while the application runs."""
        timeout = aiohttp.ClientTimeout(total=V1_TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        async with self._session, asyncio.TaskGroup() as self._group:
            yield

    async def handle(self, request: web.Request) -> web.Response:
        """Forward a request to v1, and return v1's response."""
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        if "x-request-id" not in request.headers:
            headers["x-request-id"] = str(uuid.uuid4())
        headers["x-diff-id"] = str(uuid.uuid4())
        began = time.perf_counter()
        try:
            url = _same_path(self._v1, request)
            async with self._session.request(request.method, url, headers=headers, data=body) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as problem:
            return web.Response(status=503, text=f"v1 does not respond: {problem}")
        record = _record(request, headers, response, len(content), (time.perf_counter() - began) * 1000)
        if len(self._tasks) < MAX_OPEN_TASKS:
            copy = (request.method, _same_path(self._mirror, request), headers, body)
            recorded = ("POST", URL(self._records + "/record"), record, content)
            task = self._group.create_task(self._send(copy, recorded))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        kept = [(name, value) for name, value in response.headers.items() if name.lower() not in HOP_BY_HOP]
        return web.Response(status=response.status, body=content, headers=CIMultiDict(kept))

    async def _send(self, *requests: Outgoing) -> None:
        timeout = aiohttp.ClientTimeout(total=SHADOWDIFF_TIMEOUT_S)
        for method, url, headers, body in requests:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.request(method, url, headers=headers, data=body, timeout=timeout) as response:
                    _ = await response.read()


def _record(
    request: web.Request, headers: Mapping[str, str], response: aiohttp.ClientResponse, size: int, took_ms: float
) -> CIMultiDict[str]:
    """Return the headers of a record, in the same form as the Lua filter sends them."""
    fields = {
        "id": headers["x-diff-id"],
        "id-source": "x-diff-id",
        "method": request.method,
        "path": request.raw_path,
        "host": request.host,
        "status": str(response.status),
        "side": "primary",
        "size": str(size),
        "attempt": "1",
        "duration-ms": f"{took_ms:.3f}",
    }
    record = CIMultiDict({"content-type": "application/octet-stream"})
    record.extend((f"x-shadowdiff-{name}", value) for name, value in fields.items())
    record.extend((f"x-shadowdiff-h-{name.lower()}", value) for name, value in response.headers.items())
    return record


def _same_path(base: str, request: web.Request) -> URL:
    """Return a URL with the path and query exactly as the user sent them."""
    return URL(base + request.raw_path, encoded=True)


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--v1", required=True)
@click.option("--mirror", required=True)
@click.option("--records", required=True)
def main(port: int, v1: str, mirror: str, records: str) -> None:
    """Serve until terminated."""
    tee = Tee(v1, mirror, records)
    app = web.Application(client_max_size=1 << 30)
    app.cleanup_ctx.append(tee.run)
    _ = app.router.add_route("*", "/{path:.*}", tee.handle)
    web.run_app(app, host=HOST, port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
