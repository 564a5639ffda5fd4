"""Test waiting data in Redis: all of it is in the ledger, and it is unreadable if a key is set."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import zstandard

from shadowdiff.store import connect
from tests.integration.service.conftest import JSON, serving, settings, target
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

SECRET = b"4111-1111-1111-1111"
V1, V2 = b'{"v1": "%b"}' % SECRET, b'{"v2": "%b"}' % SECRET
LONG = b'{"long": "%b"}' % (SECRET * 100)


def _client(redis_server: RedisServer) -> Any:
    return connect(redis_server.url)


async def _values(client: Any, prefix: str) -> list[tuple[bytes, bytes]]:
    """Return every key under a prefix with its whole value, as Redis dumps it."""
    return [(key, await client.dump(key)) async for key in client.scan_iter(f"{prefix}:*", count=1000)]


def _readable(value: bytes) -> bytes:
    """Return a value and its decompressed zstd parts, because compressed data is still readable."""
    found = [value]
    at = value.find(zstandard.FRAME_HEADER)
    while at >= 0:
        try:
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(value[at:]))
        except zstandard.ZstdError:
            found.append(b"")
        at = value.find(zstandard.FRAME_HEADER, at + 1)
    return b"".join(found)


async def _found_while_waiting(redis_server: RedisServer, folder: Path, prefix: str, store: dict[str, Any]) -> bool:
    """Make halves of both sides wait, and return whether the secret is readable anywhere in Redis."""
    async with v2(always(response(V2, "200 OK", f"content-type: {JSON}"))) as port:
        config = settings(redis_server.url, target(port), store={"prefix": prefix} | store)
        key = base64.b64encode(os.urandom(32)).decode()
        async with serving(folder, config, BUFFER_KEY=key) as world, _client(redis_server) as client:
            for number in range(5):
                assert await world.mesh.record(f"v1-{number}", V1, h_content_type=JSON) == 202
                assert await world.mesh.record(f"long-{number}", LONG, h_content_type=JSON) == 202
                assert await world.mesh.mirror(f"v2-{number}", headers={"authorization": SECRET.decode()}) == 202
            await world.service.until(
                lambda books: (
                    books["observations"]["primary"]["waiting"] == 10
                    and books["observations"]["candidate"]["waiting"] == 5
                )
            )
            values = await _values(client, prefix)
            assert len([key for key, _ in values if b"}:o:" in key]) == 15
            return any(SECRET in key + _readable(value) for key, value in values)


async def test_an_encrypted_buffer_shows_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    """With `store.key`, no body and no header is readable in any key of Redis."""
    assert not await _found_while_waiting(redis_server, tmp_path, "sealed", {"key": "BUFFER_KEY"})


async def test_a_plain_buffer_shows_the_secret(redis_server: RedisServer, tmp_path: Path) -> None:
    """Without a key the same search finds the secret, so the search works."""
    assert await _found_while_waiting(redis_server, tmp_path, "plain", {})


async def test_a_removed_observation_unbalances_the_ledger(redis_server: RedisServer, tmp_path: Path) -> None:
    """One deleted observation sets `balanced` to false in the API, with its side."""
    async with v2(always(response(V2, "200 OK", f"content-type: {JSON}"))) as port:
        config = settings(redis_server.url, target(port), store={"prefix": "removed"})
        async with serving(tmp_path, config) as world, _client(redis_server) as client:
            for number in range(10):
                assert await world.mesh.record(f"alone-{number}", V1, h_content_type=JSON) == 202
            books = await world.service.until(lambda books: books["observations"]["primary"]["waiting"] == 10)
            assert books["balanced"]
            waiting = [key async for key in client.scan_iter("removed:{0}:o:*")]
            assert 1 == await client.delete(waiting.pop())
            books = await world.service.until(lambda books: not books["balanced"])
            assert (10, 9) == tuple(books["observations"]["primary"][name] for name in ("parked", "waiting"))


async def test_a_removed_ready_pair_unbalances_the_ledger(redis_server: RedisServer, tmp_path: Path) -> None:
    """A ready pair that is deleted before its comparison also sets `balanced` to false."""
    async with v2(always(response(V2, "200 OK", f"content-type: {JSON}"))) as port:
        config = settings(redis_server.url, target(port), store={"prefix": "unready"})
        async with serving(tmp_path, config) as world, _client(redis_server) as client:
            await world.both("compared", V1)
            await world.until(pairs__mismatch=1)
            await client.hincrby("unready:{0}:ledger:shop", "pairs.mismatch", -1)
            books = await world.service.until(lambda books: not books["balanced"])
            assert (1, 0) == (books["pairs"]["ready"], books["pairs"]["mismatch"])
