"""Test placeholders of secrets in different processes of one service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import fakeredis

from shadowdiff.report import redaction_key, shared_key
from shadowdiff.store import Store
from tests.integration.service.conftest import JSON, serving, settings, target
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

OURS, THEIRS = b'{"id": 1, "token": "one-secret"}', b'{"id": 2, "token": "another-secret"}'


async def test_all_processes_of_a_store_share_one_key() -> None:
    """The first process creates the key. A second store has its own key."""
    server = fakeredis.FakeServer()
    stores = [Store(fakeredis.FakeAsyncRedis(server=server), prefix) for prefix in ("a", "a", "b")]
    first, second, other = [await shared_key(store) for store in stores]
    assert (True, False) == (first == second, first == other)
    assert redaction_key(b"k") == redaction_key(b"k") != redaction_key(b"l")
    for store in stores:
        await store.close()


async def test_equal_secrets_have_equal_placeholders_in_all_processes(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Without `store.key`, processes that share only the store use the same placeholder."""
    hashes: list[set[str]] = []
    async with v2(always(response(THEIRS, "200 OK", f"content-type: {JSON}"))) as port:
        config = settings(redis_server.url, target(port), store={"prefix": "keyed"})
        for number in range(2):
            async with serving(tmp_path, config) as world:
                await world.both(f"request-{number}", OURS)
                await world.until(pairs__mismatch=number + 1)
                (newest, *_) = await world.samples()
                whole = world.service.get(f"samples/{newest['id']}")
                hashes.append(set(re.findall("‹redacted:[0-9a-f]{12}›", str(whole))))
    assert (2, hashes[0]) == (len(hashes[0]), hashes[1])
