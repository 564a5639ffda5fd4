"""A pair that killed two workers is committed as `poison`. No third worker compares such a pair."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shadowdiff.pairing import names
from tests.integration.service.conftest import JSON, serving, settings, target
from tests.integration.service.redis_link import Ask, RedisLink, Words, runs
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from pathlib import Path


async def test_third_delivery_is_poison(link: RedisLink, tmp_path: Path) -> None:
    """If the workers of two deliveries died, the third worker commits the pair without reading it."""
    lost = 0

    async def loses_two_deliveries(words: Words, ask: Ask) -> bytes | None:
        nonlocal lost
        answer = await ask()
        delivers = words[0] == b"XREADGROUP" or runs(words, names.RECLAIM)
        if delivers and lost < 2 and b"\r\nk\r\n" in answer:  # the first field of a stream entry
            lost += 1
            return None
        return answer

    link.on_call = loses_two_deliveries
    async with v2(always(response(b"{}", "200 OK", f"content-type: {JSON}"))) as port:
        config = settings(link.url, target(port), pairing={"claim_idle": "300ms"}, limits={"compare_ms": 200})
        async with serving(tmp_path, config) as world:
            await world.both("poisoned")
            await world.until(pairs__incomparable=1, pairs__ready=1)
            (sample,) = await world.samples("incomparable")
            assert "poison" == sample["reason"]
            await world.both("sound")
            await world.until(pairs__incomparable=1, pairs__match=1, pairs__ready=2)
    assert 2 == lost


async def test_pair_is_compared_after_one_lost_delivery(link: RedisLink, tmp_path: Path) -> None:
    """After one lost delivery the pair is claimed again and compared."""
    lost = asyncio.Event()

    async def loses_one_delivery(words: Words, ask: Ask) -> bytes | None:
        answer = await ask()
        if words[0] == b"XREADGROUP" and not lost.is_set() and b"\r\nk\r\n" in answer:
            lost.set()
            return None
        return answer

    link.on_call = loses_one_delivery
    async with v2(always(response(b"{}", "200 OK", f"content-type: {JSON}"))) as port:
        config = settings(link.url, target(port), pairing={"claim_idle": "300ms"}, limits={"compare_ms": 200})
        async with serving(tmp_path, config) as world:
            await world.both("once-lost")
            await world.until(pairs__match=1, pairs__ready=1)
    assert lost.is_set()
