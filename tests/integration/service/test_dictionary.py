"""Services that share a Redis learn a dictionary from their observations, and read each other's data with it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from shadowdiff.pairing.codec import EXAMPLES
from shadowdiff.store import ValueCodec, connect
from tests.integration.service.conftest import JSON, lines_of, serving, settings, target
from tests.integration.service.scripts import always, response, v2
from tests.running import WITHIN_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

PREFIX = "dictionary"
SECRET = "Margarete"


def _body(number: int) -> bytes:
    customer = f"{SECRET}{number:03d}"
    articles = [{"article": n * number, "price": n} for n in range(20)]
    return json.dumps({"customer": customer, "articles": articles}).encode()


async def _values(client: Any, pattern: str) -> list[bytes]:
    return [await client.get(key) async for key in client.scan_iter(f"{PREFIX}:*{pattern}*", count=1000)]


async def test_two_services_share_one_dictionary(redis_server: RedisServer, tmp_path: Path) -> None:
    """A waiting half is stored with the dictionary, and a service that has learned nothing compares its pair."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    answer = response(_body(1), "200 OK", f"content-type: {JSON}")
    async with v2(always(answer)) as port, connect(redis_server.url) as client:
        config = settings(redis_server.url, target(port), store={"prefix": PREFIX})
        async with serving(folders[0], config) as first:
            for number in range(EXAMPLES):
                await first.both(f"pair-{number}", _body(number))
            async with asyncio.timeout(WITHIN_S):
                while not lines_of(first.service, "dictionary learned"):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await first.until(pairs__ready=EXAMPLES)
            assert 202 == await first.mesh.record("late", _body(1), h_content_type=JSON)
            await first.service.until(lambda books: 1 == books["observations"]["primary"]["waiting"])
            (waiting,) = [value for value in await _values(client, "}:o:") if value.startswith(b"W")]
            assert len(waiting) < len(_body(1)) / 2
            (content,) = {ValueCodec().decode(closed, b"") for closed in await _values(client, "}:dictionary:")}
            assert b"article" in content
            assert not any(
                b"%b%03d" % (SECRET.encode(), number) in content for number in range(2, EXAMPLES)
            )  # v2 always returns 1
            async with serving(folders[1], config) as second:
                first.service.stop()
                assert 202 == await second.mesh.mirror("late")
                await second.until(pairs__ready=EXAMPLES + 1)
