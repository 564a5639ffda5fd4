"""The records port: tokens and rates, and what an attacker with that port alone can do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import free_port_number
from tests.integration.service.conftest import World, figure, lines_of, serving, settings, target
from tests.integration.service.scripts import response, says, v2
from tests.security.conftest import raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import RedisServer

OLD, NEW = "old-records-token-0123", "new-records-token-0123"
V1, WRONG = b'{"price": 100}', b'{"price": 999}'
JSON = "application/json"


@pytest.fixture
async def attacked(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    """Yield a service whose v2 answers wrongly, and whose records port asks for nothing."""
    port = free_port_number()
    config = settings(redis_server.url, target(port), store={"prefix": f"forged{port}"}, pairing={"window": "4s"})
    async with v2(says(response(WRONG, "200 OK", f"content-type: {JSON}")), port), serving(tmp_path, config) as world:
        yield world


async def record(world: World, request_id: str, body: bytes, **fields: str) -> int:
    """Record an answer, as anybody can who reaches the port."""
    return await world.mesh.record(request_id, body, "/cart?session=s3cret", h_content_type=JSON, **fields)


async def test_a_forged_record_leaves_a_count_and_an_example(attacked: World) -> None:
    """Whether it comes before v1's own, beside it, in its place, or after: the books and the log say so."""
    world = attacked
    assert await record(world, "before", WRONG, attempt="9999") == 202
    assert await record(world, "before", V1) == 202
    assert await world.mesh.mirror("before", "/cart?session=s3cret") == 202
    assert await record(world, "beside", WRONG) == 202
    assert await record(world, "beside", V1) == 202
    assert await record(world, "twice", V1) == 202
    assert await record(world, "twice", V1) == 202
    assert await world.mesh.mirror("twice", "/cart?session=s3cret") == 202
    assert await world.mesh.mirror("after", "/cart?session=s3cret") == 202
    assert await record(world, "after", V1) == 202
    await world.service.until(lambda books: figure(books, "pairs__ready") == 3)
    assert await record(world, "after", WRONG, attempt="9999") == 202
    primary = {"replaced": 1, "ambiguous": 2, "duplicate": 1, "late": 1}
    books = await world.until(**{f"observations__primary__{what}": count for what, count in primary.items()})
    assert (books["pairs"]["mismatch"], books["pairs"]["match"]) == (2, 1)
    told = lines_of(world.service, "an observation fits no pair")
    assert told
    assert {"target": "shop", "side": "primary", "path": "/cart"}.items() <= told[0].items()
    assert "s3cret" not in world.service.log


async def test_the_records_port_tells_nothing(attacked: World) -> None:
    """No method and no path gives back anything that was recorded, mirrored or counted."""
    world = attacked
    await world.both("one", V1, "/cart")
    await world.until(pairs__mismatch=1)
    port = world.service.ports["records"]
    paths = ("/", "/record", "/records", "/api/v1/targets", "/metrics", "/samples", "/../web", "*", "/record?x=1")
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        for path in paths:
            head = f"{method} {path} HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            answer = await asyncio.to_thread(raw, port, head.encode())
            status, _, said = answer.partition(b"\r\n")
            assert status.split(b" ")[1] in {b"400", b"404", b"405"}, (method, path, answer)
            assert not {b"price", b"shop", b"cart"} & set(said.split()), (method, path, answer)


async def recorded(world: World, token: str | None, path: str = "/record", **options: Any) -> int:
    """Post a record with a token and return the status."""
    headers = {f"x-shadowdiff-{name}": value for name, value in {
        "id": "a", "id-source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": "200",
    }.items()}  # fmt: skip
    headers |= {"authorization": f"Bearer {token}"} if token is not None else {}
    url = world.service.url("records", path)
    async with world.mesh.session.post(url, headers=headers, data=b"{}", **options) as answer:
        return answer.status


async def test_where_tokens_are_configured_a_record_brings_one(redis_server: RedisServer, tmp_path: Path) -> None:
    """Any of them, so that recorders move from one to the next; what brings none is counted and believed in nothing."""
    config = settings(redis_server.url, target(), store={"prefix": f"token{free_port_number()}"})
    config["access"] = {"records": ["OLD_TOKEN", "NEW_TOKEN"]}
    async with serving(tmp_path, config, OLD_TOKEN=OLD, NEW_TOKEN=NEW) as world:
        wrong = (None, "", OLD[:-1], OLD + "x", OLD.upper(), "é")
        assert [await recorded(world, token) for token in wrong] == [401] * len(wrong)
        assert await recorded(world, "x", "/records") == 401
        assert [await recorded(world, token) for token in (OLD, NEW)] == [202, 202]
        unknown = await asyncio.to_thread(world.service.ledger, "_unknown")
        assert (unknown["recorded"]["received"], unknown["recorded"]["refused"]) == (7, 7)
        books = await world.service.until(lambda books: figure(books, "recorded__accepted") == 2)
        assert (books["recorded"]["received"], books["recorded"]["refused"]) == (2, 0)
        world.service.config["access"] = {"records": ["NEW_TOKEN"]}
        world.service.write()
        world.service.process.send_signal(1) if world.service.process else None
        async with asyncio.timeout(20):
            while not lines_of(world.service, "configuration reloaded"):  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.05)
        assert [await recorded(world, token) for token in (OLD, NEW)] == [401, 202]


async def test_one_address_sends_no_more_than_its_share(redis_server: RedisServer, tmp_path: Path) -> None:
    """What goes past it is shed with its reason, single records and batches alike."""
    config = settings(
        redis_server.url,
        target(),
        store={"prefix": f"rate{free_port_number()}"},
        limits={"records_per_source": 5},
    )
    async with serving(tmp_path, config) as world:
        line = b'{"id":"b","id_source":"x-diff-id","method":"GET","path":"/","host":"shop","status":200}\n'
        url = world.service.url("records", "/records")
        async with world.mesh.session.post(url, data=line * 1000) as answer:
            assert answer.status == 202
        assert {await recorded(world, None) for _ in range(20)} == {503}
        async with world.mesh.session.post(url, data=line * 7) as answer:
            assert answer.status == 503
        books = await asyncio.to_thread(world.service.ledger)
        assert (books["recorded"]["shed"], books["balanced"]) == (20, True)
        unknown = await asyncio.to_thread(world.service.ledger, "_unknown")
        assert (unknown["recorded"]["shed"], unknown["balanced"]) == (7, True)
