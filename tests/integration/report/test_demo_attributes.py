"""Run the demo's shop as v1 and v2 behind a real service, and read what the pairs of each cause have in common."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest

from shadowdiff.demo.shop import CATEGORY, ERROR_PRODUCT, PRODUCTS, STRING_EVERY
from shadowdiff.report import Change
from shadowdiff.report.attribute_sample import read_sample
from shadowdiff.report.cause_writes import table_key
from shadowdiff.report.common_attributes import AttributeTable, Common
from shadowdiff.store import Store, connect
from tests.integration.verdict.test_the_shop import RULES, shop
from tests.running import Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.running import Mesh

PAIRS = 6 * PRODUCTS
AT_ONCE = 16
WITHIN_S = 240.0


async def _user(mesh: Mesh, users: aiohttp.ClientSession, v1: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        path, name = f"/products/{number % PRODUCTS}", f"request-{number}"
        async with users.get(f"{v1}{path}", headers={"x-request-id": name}) as answer:
            body, kind = await answer.read(), answer.headers["content-type"]
            stated = {"status": str(answer.status), "h_content_type": kind}
        assert 202 == await mesh.record(name, body, path, **stated)
        assert 202 == await mesh.mirror(name, path)


async def _common(redis_server: RedisServer, prefix: str) -> dict[tuple[str, str], Common]:
    """Return what the pairs of each change have in common, by place and kind."""
    async with connect(redis_server.url) as client:
        store = Store(client, prefix)
        run = int(await store.command("HGET", f"{prefix}:{{0}}:run:shop", "id"))
        parts = await read_sample(store, "shop", run, time.time_ns() // 1_000_000, 24 * 3600)
        fields = await store.counts(table_key("shop", run, "changes"))
    table = AttributeTable(parts)
    changes = [msgspec.json.decode(field, type=Change) for field in fields]
    return {(one.place, one.kind): table.common([one.id], [one.place]) for one in changes}


@pytest.mark.timeout(600)
async def test_demo_causes_name_the_category_and_the_product(redis_server: RedisServer, tmp_path: Path) -> None:
    """The missing field is in the garden, the error is one product, and the wrong prices are anywhere."""
    prefix = f"d{os.urandom(4).hex()}"
    with shop("v1") as (v1, _), shop("v2") as (v2, _):
        candidate = {"url": v2, "timeout": "10s", "queue_timeout": "10s"}
        target = {"name": "shop", "hosts": ["shop"], "candidate": candidate, "rules": RULES}
        config: dict[str, Any] = {
            "store": {"url": redis_server.url, "prefix": prefix},
            "pairing": {"window": "60s", "settle": "0s"},
            "targets": [target | {"routes": ["/products/{id}"]}],
        }
        service = Service(tmp_path, config)
        service.start()
        try:
            async with asyncio.timeout(WITHIN_S):
                while (await asyncio.to_thread(service.get, "runs?target=shop"))["run"] is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            async with mesh_of(service) as mesh, aiohttp.ClientSession() as users:
                mesh.host = "shop"
                numbers = iter(range(PAIRS))
                await asyncio.gather(*(_user(mesh, users, v1, numbers) for _ in range(AT_ONCE)))
            await service.until(lambda now: now["mirrored"]["received"] >= PAIRS and settled(now), WITHIN_S, "shop")
            listed = (await asyncio.to_thread(service.get, "causes?target=shop"))["causes"]
            (missing,) = [one["id"] for one in listed if one["place"] == "$['shipping']"]
            detail = await asyncio.to_thread(service.get, f"causes/{missing}")
        finally:
            service.stop()
    found = await _common(redis_server, prefix)

    assert [f"category = {CATEGORY}"] == [one["text"] for one in detail["common"]["attributes"]]
    shown = {place: [one.text for one in common.attributes] for place, common in found.items()}
    assert [f"category = {CATEGORY}"] == shown["$['shipping']", "removed"]
    assert [f"/products/{ERROR_PRODUCT}"] == shown["status", "status"]
    assert [] == shown["$['price']['amount']", "value"]
    assert [] == shown["$['stock']['count']", "type"]
    (category,) = found["$['shipping']", "removed"].attributes
    assert (PAIRS // 10, PAIRS // 10, 0) == (category.affected_with, category.affected, category.others_with)
    assert 100 < category.others
    (product,) = found["status", "status"].attributes
    assert (6, 6, 0) == (product.affected_with, product.affected, product.others_with)
    assert PAIRS // STRING_EVERY == found["$['stock']['count']", "type"].affected
