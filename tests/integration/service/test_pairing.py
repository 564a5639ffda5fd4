"""Halves that arrive over HTTP pair once, in any order and however often they arrive.

One service serves all tests of this file. The window is long, except for a short one in `test_orphans`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.service.conftest import JSON, World, serving, settings, target
from tests.integration.service.scripts import always, echoes_the_path, response, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

PAIRS = 40


def body_of(path: str) -> bytes:
    """Return the response of v1 and v2 to a path."""
    return b'{"path": "%b"}' % path.encode()


async def test_arrival_order_and_repeats(redis_server: RedisServer, tmp_path: Path) -> None:
    """Either half may arrive first, or both at once, and a repeated id never makes a second pair."""
    config = settings(redis_server.url, store={"prefix": "orders"})
    async with v2(echoes_the_path(body_of)) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            await _primary_first(world)
            await _candidate_first(world)
            await _both_at_once(world)
            await _an_id_used_twice(world)


async def _primary_first(world: World) -> None:
    for number in range(PAIRS):
        path = f"/primary-first/{number}"
        assert await world.mesh.record(path, body_of(path), path, h_content_type=JSON) == 202
    await world.service.until(lambda books: books["observations"]["primary"]["waiting"] == PAIRS)
    for number in range(PAIRS):
        assert await world.mesh.mirror(f"/primary-first/{number}", f"/primary-first/{number}") == 202
    await world.until(pairs__match=PAIRS, pairs__ready=PAIRS)


async def _candidate_first(world: World) -> None:
    for number in range(PAIRS):
        assert await world.mesh.mirror(f"/candidate-first/{number}", f"/candidate-first/{number}") == 202
    await world.service.until(lambda books: books["observations"]["candidate"]["waiting"] == PAIRS)
    for number in range(PAIRS):
        path = f"/candidate-first/{number}"
        assert await world.mesh.record(path, body_of(path), path, h_content_type=JSON) == 202
    await world.until(pairs__match=2 * PAIRS, pairs__ready=2 * PAIRS)


async def _both_at_once(world: World) -> None:
    paths = [f"/at-once/{number}" for number in range(PAIRS)]
    async with asyncio.TaskGroup() as group:
        for path in paths:
            group.create_task(world.mesh.record(path, body_of(path), path, h_content_type=JSON))
            group.create_task(world.mesh.mirror(path, path))
    await world.until(pairs__match=3 * PAIRS, pairs__ready=3 * PAIRS)


async def _an_id_used_twice(world: World) -> None:
    """Send both halves again with ids of existing pairs: all are late, and no new pair forms."""
    for number in range(PAIRS):
        path = f"/at-once/{number}"
        await world.both(path, body_of(path), path)
    books = await world.until(
        pairs__match=3 * PAIRS,
        pairs__ready=3 * PAIRS,
        observations__primary__late=PAIRS,
        observations__candidate__late=PAIRS,
    )
    assert books["pairs"]["mismatch"] == 0


async def test_shared_ids(redis_server: RedisServer, tmp_path: Path) -> None:
    """If requests may share an id, equal repeats are duplicates, and unequal ones make a key ambiguous."""
    config = settings(redis_server.url, store={"prefix": "shared"}, pairing={"settle": "1s"})
    async with v2(always(response(b"{}", "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            for body in (b"{}", b"{}"):
                await _record_shared(world, "same", body)
            for body in (b"{}", b'{"other": 1}'):
                await _record_shared(world, "unlike", body)
            await _record_shared(world, "retried", b"", status="503", attempt="1")
            await _record_shared(world, "retried", b"{}", attempt="2")
            for request_id in ("same", "unlike", "retried"):
                assert await world.mesh.mirror(request_id, headers={"x-diff-id": ""}) == 202
            books = await world.until(
                pairs__match=2,
                pairs__ready=2,
                observations__primary__duplicate=1,
                observations__primary__ambiguous=2,
                observations__primary__replaced=1,
                observations__candidate__ambiguous=1,
            )
    assert (6, 3) == (books["observations"]["primary"]["parked"], books["observations"]["candidate"]["parked"])


async def _record_shared(world: World, request_id: str, body: bytes, **fields: str) -> None:
    stated: dict[str, Any] = {"id_source": "x-request-id", "h_content_type": JSON} | fields
    assert await world.mesh.record(request_id, body, **stated) == 202


@pytest.mark.parametrize(("side", "missing"), [("primary", "candidate"), ("candidate", "primary")])
async def test_orphans(redis_server: RedisServer, tmp_path: Path, side: str, missing: str) -> None:
    """A half without a partner at the end of its window is an orphan of its side. A later partner is late."""
    quick = {"timeout": "500ms", "queue_timeout": "200ms"}
    config = settings(redis_server.url, store={"prefix": f"orphan-{side}"}, pairing={"window": "2s"})
    async with v2(always(response(b"{}", "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port, candidate=quick)]
        async with serving(tmp_path, config) as world:
            await _send(world, side, "alone")
            books = await world.until(**{f"observations__{side}__orphaned": 1})
            assert (0, 0) == (books["pairs"]["ready"], books["observations"][missing]["parked"])
            await _send(world, missing, "alone")
            books = await world.until(**{f"observations__{missing}__late": 1, f"observations__{side}__orphaned": 1})
            assert 0 == books["pairs"]["ready"]


async def _send(world: World, side: str, request_id: str) -> None:
    if side == "primary":
        assert await world.mesh.record(request_id, b"{}", h_content_type=JSON) == 202
    else:
        assert await world.mesh.mirror(request_id) == 202
