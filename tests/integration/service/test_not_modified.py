"""A real service sends v2 its own ETag, and finds a v2 that never answers 304 to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.serving import served
from tests.running import Service, mesh_of

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from tests.conftest import RedisServer

USERS, OWN = '"v1-abc"', '"v2-def"'


@pytest.mark.parametrize(
    ("answers_304", "result", "reason"), [(True, "incomparable", "not_modified"), (False, "mismatch", "")]
)
async def test_a_v2_that_ignores_its_own_etag_is_a_mismatch(
    answers_304: bool, result: str, reason: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """v1 answers 304 to its own ETag. v2 sends its full response to it, and receives its own ETag in turn."""
    received: list[str] = []

    async def answer(request: Request) -> Response:
        received.append(request.headers["if-none-match"])
        is_known = answers_304 and received[-1] == OWN
        return Response("" if is_known else "hello", 304 if is_known else 200, {"etag": OWN})

    with served(Starlette(routes=[Route("/", answer)])) as url:
        config = {
            "store": {"url": redis_server.url, "prefix": f"not_modified_{answers_304}"},
            "pairing": {"settle": "100ms"},
            "targets": [{"name": "shop", "hosts": ["shop"], "candidate": {"url": url, "revalidate": 1.0}}],
        }
        service = Service(tmp_path, config)
        service.start()
        async with mesh_of(service) as mesh:
            mesh.host = "shop"
            await mesh.mirror("n-1", headers={"if-none-match": USERS})
            await mesh.record("n-1", status="304", h_etag=USERS)
            books = await service.until(lambda now: now["pairs"][result] == 1, target="shop")
            assert (1, True) == (books["mirrored"]["forwarded"], books["balanced"])
            assert (0 if reason else 1) == books["coverage"]["eligible"]
            funnel = await asyncio.to_thread(service.get, "funnel?target=shop")
            losses = {loss["reason"]: loss["count"] for step in funnel["steps"] for loss in step["losses"]}
            assert ({reason: 1} if reason else {}) == losses
        assert 0 == service.stop()
    assert [USERS, OWN] == received
