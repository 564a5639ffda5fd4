"""Test that an erasure reaches every place in the store that has a value, and leaves everything else."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import zstandard

from shadowdiff.store import connect
from tests.integration.service.conftest import JSON, balanced_and_still, lines_of, serving, settings, target
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.integration.service.conftest import World

VALUE = "471147"
PATH = f"/customers/{VALUE}"
WITHIN_S = 60


async def _keys_with(client: Any, prefix: str, value: bytes) -> set[str]:
    """Return the keys, without their shard, that have this text in their names or values."""
    found: set[str] = set()
    async for key in client.scan_iter(f"{prefix}:*", count=1000):
        stored: Any = None
        match await client.type(key):
            case b"string":
                stored = await client.get(key)
            case b"list":
                stored = await client.lrange(key, 0, -1)
            case b"hash":
                stored = await client.hgetall(key)
            case b"zset":
                stored = await client.zrange(key, 0, -1)
            case _:
                stored = await client.xrange(key)
        if any(value in _readable(one) for one in [key, *_flat(stored)]):
            found.add(key.decode().rpartition("}:")[2])
    return found


def _flat(stored: Any) -> list[bytes]:
    if isinstance(stored, bytes):
        return [stored]
    items = cast("dict[Any, Any]", stored).items() if isinstance(stored, dict) else cast("list[Any]", stored or [])
    return [one for part in items for one in _flat(part)]


def _readable(value: bytes) -> bytes:
    at = value.find(zstandard.FRAME_HEADER)
    if at < 0:
        return value
    try:
        return value + zstandard.ZstdDecompressor().decompressobj().decompress(value[at:])
    except zstandard.ZstdError:
        return value


async def _post(world: World, path: str, **body: Any) -> Any:
    async with world.mesh.session.post(world.service.url("web", f"/api/v1/{path}"), json=body) as answer:
        assert 200 == answer.status, await answer.text()
        return await answer.json()


async def _names(client: Any, pattern: str) -> list[str]:
    """Return the keys that match, without their shard."""
    return [key.decode().rpartition("}:")[2] async for key in client.scan_iter(pattern)]


async def _until_a_run(world: World) -> None:
    """Wait for a run, because attributes are stored only of pairs that count in one."""
    async with asyncio.timeout(WITHIN_S):
        while (await asyncio.to_thread(world.service.get, "runs?target=shop"))["run"] is None:  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.1)


async def _until_stored(client: Any, prefix: str, value: bytes, expected: set[str]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while expected != await _keys_with(client, prefix, value):  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.1)


async def test_an_erasure_reaches_every_place_that_has_the_value(redis_server: RedisServer, tmp_path: Path) -> None:
    """That is samples, attributes, notes, examples of the doctor and the audit log. Names and rules are reported."""
    answer = always(response(b'{"price": 2}', "200 OK", f"content-type: {JSON}"))
    async with v2(answer) as port:
        config = settings(redis_server.url, target(port), store={"prefix": "erase"}, pairing={"window": "1s"})
        async with serving(tmp_path, config) as world, connect(redis_server.url) as client:
            await _until_a_run(world)
            await world.both("one", b'{"price": 1}', PATH)
            await world.both("two", b'{"price": 1, "customer": %b}' % VALUE.encode(), "/customers/1")
            await world.both("three", b'{"price": 1}', "/customers/2")
            await world.mesh.record("alone", b"{}", PATH)
            await world.mesh.mirror("unknown", PATH, headers={"host": "nobody"})
            await world.service.until(lambda books: balanced_and_still(books) and books["pairs"]["mismatch"] == 3)
            found = (await asyncio.to_thread(world.service.get, "fingerprints?target=shop"))["fingerprints"]
            why = {"author": "ada", "reason": f"customer {VALUE}"}
            await _post(world, f"fingerprints/{found[0]['id']}/note", text=f"see {VALUE}", author="ada")
            rule = await _post(world, "rules", target="shop", rule={"ignore": "$.x"}, confirm=True, **why)
            places = {"samples:mismatch:shop:lines", "samples:mismatch:shop:values", "doctor:orphans:shop:primary"}
            places |= {"fingerprints:notes:shop", "rules:made", "audit", "doctor:processes", "doctor:paired:shop"}
            (attributes,) = await _names(client, "erase:*:attributes:*:members")
            places.add(attributes)
            await _until_stored(client, "erase", VALUE.encode(), places)

            counted = await _post(world, "erasures", path_value=VALUE, dry_run=True)
            assert places == await _keys_with(client, "erase", VALUE.encode())
            erased = await _post(world, "erasures", path_value=VALUE, **why)
            assert counted | {"dry_run": False} == erased
            expected = {"samples": 2, "notes": 1, "doctor_examples": 2, "audit_entries": 2, "fingerprints": 0}
            expected["attributes"] = 1
            assert expected == {name: erased[name] for name in expected}
            assert [rule["id"]] == erased["kept_rules"]
            await _until_stored(client, "erase", VALUE.encode(), {"rules:made"})

            assert ["three"] == [one["request_id"] for one in await world.samples()]
            again = await _post(world, "erasures", path_value=VALUE, **why)
            assert 0 == sum(again[name] for name in expected)
            entries = (await asyncio.to_thread(world.service.get, "audit"))["entries"]
            assert "data erased" == entries[1]["action"]
            details = {"by": "path value", "author": "ada", "reason": "customer ‹erased›", "samples": "2", "notes": "1"}
            assert details.items() <= entries[1]["details"].items()
            assert VALUE not in json.dumps(entries)
            assert VALUE not in json.dumps(lines_of(world.service, "audit: data erased"))
            books = await world.service.until(balanced_and_still)
            assert 3 == books["pairs"]["mismatch"]


async def test_an_erasure_reaches_waiting_observations_and_secrets(redis_server: RedisServer, tmp_path: Path) -> None:
    """Erased observations count as orphans, so the ledger balances; observations with other values still pair."""
    answer = always(response(b'{"price": 2}', "200 OK", f"content-type: {JSON}"))
    async with v2(answer) as port:
        config = settings(redis_server.url, target(port), store={"prefix": "waiting"}, pairing={"window": "60s"})
        async with serving(tmp_path, config) as world, connect(redis_server.url) as client:
            for name, path in (("mine", PATH), ("other", "/customers/1")):
                await world.mesh.record(name, b'{"price": 1}', path, h_content_type=JSON)
            await world.mesh.mirror("secret", "/x", headers={"authorization": "Bearer s3cr3t-of-erin"})
            await world.service.until(
                lambda books: [2, 1] == [books["observations"][side]["waiting"] for side in ("primary", "candidate")]
            )
            erased = await _post(world, "erasures", path_value=VALUE, author="ada", reason="why")
            assert (1, 0) == (erased["waiting"], erased["samples"])
            books = await world.service.until(lambda books: books["observations"]["primary"]["waiting"] == 1)
            assert (True, 1) == (books["balanced"], books["observations"]["primary"]["orphaned"])
            assert set() == await _keys_with(client, "waiting", VALUE.encode())
            await world.mesh.mirror("mine", PATH)
            await world.mesh.mirror("other", "/customers/1", headers={"authorization": "Bearer s3cr3t-of-erin"})
            books = await world.service.until(lambda books: books["pairs"]["mismatch"] == 1)
            await world.service.until(lambda books: books["observations"]["candidate"]["late"] == 1)

            (listed,) = await world.samples()
            sample = await asyncio.to_thread(world.service.get, f"samples/{listed['id']}")
            shown = dict(sample["request_headers"])["authorization"]
            erased = await _post(world, "erasures", secret_hash=shown.split()[1], author="ada", reason="why")
            assert (1, 1) == (erased["samples"], erased["waiting"])
            assert [] == await world.samples()
            books = await world.service.until(balanced_and_still)
            assert (1, 1) == (books["pairs"]["mismatch"], books["observations"]["candidate"]["orphaned"])
