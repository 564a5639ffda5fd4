"""Test that the tee, a small proxy that replaces Envoy, behaves like Envoy's two listeners."""

from __future__ import annotations

import gzip
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import ClientSession, web
from mesh_world import Stub, serving
from yarl import URL

from shadowdiff.demo.environment import listens
from shadowdiff.demo.process import HOST, free_ports, start, stop, wait_ready

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

BODY = gzip.compress(b"recommendation")


async def _v1(request: web.Request) -> web.StreamResponse:
    answer = web.Response(status=404 if request.path == "/none" else 200, body=BODY)
    answer.headers["content-encoding"] = "gzip"
    answer.headers.add("set-cookie", "a=1")
    answer.headers.add("set-cookie", "b=2")
    return answer


@asynccontextmanager
async def _tee(
    folder: Path, stub: Stub, ports: tuple[int, int] | None = None
) -> AsyncGenerator[tuple[str, ClientSession]]:
    async with AsyncExitStack() as stack:
        v1 = await stack.enter_async_context(serving(_v1))
        mirror, records = ports or (
            await stack.enter_async_context(serving(stub.mirror)),
            await stack.enter_async_context(serving(stub.record)),
        )
        port = free_ports([0])[0]
        urls = {"--v1": v1, "--mirror": mirror, "--records": records}
        options = [part for name, value in urls.items() for part in (name, f"http://{HOST}:{value}")]
        child = start("tee", [sys.executable, "-m", "shadowdiff.demo.tee", "--port", str(port), *options], folder)
        _ = stack.push_async_callback(stop, child)
        await wait_ready(child, listens(port), 20)
        session = await stack.enter_async_context(ClientSession(auto_decompress=False))
        yield f"http://{HOST}:{port}", session


async def test_user_copy_and_record_get_the_same(tmp_path: Path) -> None:
    """The tee sends the same body, status, cookies and path as Envoy, and the same id to both ports."""
    stub = Stub()
    headers = {"x-request-id": "r-9", "x-diff-id": "forged", "host": "recommendation"}
    async with _tee(tmp_path, stub) as (url, user):
        async with user.post(URL(f"{url}/none?a=%2F", encoded=True), headers=headers, data=b"asked") as answer:
            got = await answer.read()
        copy, record = (await stub.copied(1))[0], (await stub.recorded(1))[0]

    assert (404, BODY) == (answer.status, got)
    assert ["a=1", "b=2"] == answer.headers.getall("set-cookie")
    assert ("POST", "/none?a=%2F", b"asked", "r-9") == (
        copy.method,
        copy.path,
        copy.body,
        copy.headers["x-request-id"],
    )
    assert copy.headers["x-diff-id"] == record.header("id") != "forged"
    assert (BODY, "404", "/none?a=%2F", "recommendation", "gzip") == (
        record.body,
        record.header("status"),
        record.header("path"),
        record.header("host"),
        record.header("h-content-encoding"),
    )
    assert ["a=1", "b=2"] == record.all("x-shadowdiff-h-set-cookie")


async def test_users_do_not_notice_that_shadowdiff_is_unavailable(tmp_path: Path) -> None:
    """Every response arrives, although no process listens on the mirror and records ports."""
    ports = free_ports([0, 0])
    async with _tee(tmp_path, Stub(), (ports[0], ports[1])) as (url, user):
        for _ in range(50):
            async with user.get(url) as answer:
                assert (200, BODY) == (answer.status, await answer.read())
