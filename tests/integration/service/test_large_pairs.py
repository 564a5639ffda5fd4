"""Large pairs are compared separately. Small ones never wait for them, and other workers do not claim them."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from tests.integration.service.conftest import JSON, World, serving, settings, target
from tests.integration.service.scripts import response, v2, zipped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

SIZES = {"/large": 150_000, "/medium": 30_000}
"""Elements of about 70 bytes, which gzip makes small."""
MEDIUM, SMALL = 10, 60
LARGE = 1 + MEDIUM
LONGEST_PAUSE_S = 1.5
"""Generous for a busy machine; a pair of 10 MiB compared on the event loop stalls it for longer."""


def _large_json(elements: int, changed: int) -> bytes:
    """Return JSON that gzip makes small, with one element `changed`."""
    draw = random.Random(7)
    words = [f'{{"id": {number}, "name": "{draw.choice("abcdefgh") * 40}"}}' for number in range(elements)]
    words[changed] = '{"id": -1}'
    return f"[{','.join(words)}]".encode()


async def _small_pairs(world: World) -> float:
    """Send small pairs one after another; return the longest time until a liveness reply."""
    longest_s = 0.0
    for number in range(SMALL):
        await world.both(f"small-{number}", b'{"side": "v1"}', "/small")
        begun_s = time.monotonic()
        assert await asyncio.to_thread(world.service.answers, "metrics", "/healthz")
        longest_s = max(longest_s, time.monotonic() - begun_s)
    return longest_s


async def test_small_pairs_do_not_wait_for_large_ones(redis_server: RedisServer, tmp_path: Path) -> None:
    """More large pairs than can be compared at once wait longer than a claim lasts. Small pairs overtake them."""
    recorded = {path: zipped(_large_json(elements, 10)) for path, elements in SIZES.items()}
    answered = {path: zipped(_large_json(elements, elements - 10)) for path, elements in SIZES.items()}

    async def answers(head: bytes, writer: asyncio.StreamWriter) -> None:
        fields = ["200 OK", f"content-type: {JSON}"]
        body = answered.get(head.split(b" ")[1].decode())
        if body is not None:
            fields.append("content-encoding: gzip")
        writer.write(response(body or b'{"side": "v2"}', *fields))

    config = settings(
        redis_server.url,
        store={"prefix": "large"},
        pairing={"claim_idle": "900ms"},
        limits={"compare_ms": 30_000, "decoded": "32MiB"},
    )
    async with v2(answers) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            for number in range(LARGE):
                path = "/medium" if number else "/large"
                await world.both(f"large-{number}", recorded[path], path, h_content_encoding="gzip")
            await world.service.until(lambda books: books["pairs"]["ready"] == LARGE)
            longest_s = await _small_pairs(world)
            books = await world.service.until(lambda books: books["pairs"]["mismatch"] >= SMALL)
            assert books["pairs"]["pending"] > 0
            seen = {sample["path"] for sample in await world.samples()}
            assert "/small" in seen
            books = await world.service.until(lambda books: books["pairs"]["pending"] == 0, within_s=90)
            assert {"mismatch": LARGE + SMALL, "incomparable": 0} == {
                name: books["pairs"][name] for name in ("mismatch", "incomparable")
            }
            assert books["balanced"]
    assert longest_s < LONGEST_PAUSE_S
