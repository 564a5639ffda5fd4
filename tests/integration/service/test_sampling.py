"""A tenth of the traffic is sampled by id, identically on both sides, for any kind of id."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from tests.conftest import ROOT
from tests.integration.service.conftest import JSON, World, balanced_and_still, serving, settings, target
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.redis_link import RedisLink

EMPTY = response(b"{}", "200 OK", f"content-type: {JSON}")
IDS = 1000
RATE = 0.1
LEAST, MOST = 62, 143
"""If one tenth of 1,000 ids is sampled, the count is outside these limits in 1 of 20,000 runs."""
AT_MS = 1_760_000_000_000


def uuid7(number: int, draw: random.Random) -> str:
    """Return a UUIDv7 of one of a few adjacent milliseconds. Source: RFC 9562, section 5.7."""
    value = (AT_MS + number // 50) << 80 | 0x7 << 76 | draw.getrandbits(12) << 64 | 0b10 << 62 | draw.getrandbits(62)
    return str(uuid.UUID(int=value))


FORMS: dict[str, Callable[[int, random.Random], str]] = {
    "uuid4": lambda _number, draw: str(uuid.UUID(int=draw.getrandbits(128), version=4)),
    "uuid7": uuid7,
    "time-prefixed": lambda number, draw: f"1-{AT_MS // 1000 + number // 100:08x}-{draw.getrandbits(96):024x}",
}


async def _send(world: World, ids: list[str]) -> None:
    for first in range(0, len(ids), 20):
        async with asyncio.TaskGroup() as group:
            for request_id in ids[first : first + 20]:
                group.create_task(world.mesh.record(request_id, b"{}", h_content_type=JSON))
                group.create_task(world.mesh.mirror(request_id))


@pytest.mark.parametrize("form", FORMS)
async def test_both_sides_sample_the_same_tenth(link: RedisLink, tmp_path: Path, form: str) -> None:
    """The two sides accept the same ids, about a tenth of them, and each id is a pair."""
    draw = random.Random(f"ids of {form}")
    ids = [FORMS[form](number, draw) for number in range(IDS)]
    async with v2(always(EMPTY)) as port, serving(tmp_path, settings(link.url, target(port, sample=RATE))) as world:
        await _send(world, ids)
        books = await world.service.until(
            lambda books: (
                balanced_and_still(books) and books["mirrored"]["received"] == IDS == books["recorded"]["received"]
            )
        )
    assert books["pairs"]["match"] == len(link.accepted[Side.PRIMARY])
    assert sorted(link.accepted[Side.PRIMARY]) == sorted(link.accepted[Side.CANDIDATE])
    assert LEAST <= books["pairs"]["match"] <= MOST
    assert IDS - books["pairs"]["match"] == books["mirrored"]["sampled_out"] == books["recorded"]["sampled_out"]


async def test_the_service_samples_like_the_vectors(link: RedisLink, tmp_path: Path) -> None:
    """Both ports keep exactly the ids that the shared vectors keep at one tenth."""
    vectors = json.loads((ROOT / "fixtures" / "sampling.json").read_text())
    plain = [vector for vector in vectors if vector[0].strip() == vector[0] != "" and vector[0].isascii()]
    kept = sorted(request_id for request_id, _hash, at_a_tenth, _half in plain if at_a_tenth)
    async with v2(always(EMPTY)) as port, serving(tmp_path, settings(link.url, target(port, sample=RATE))) as world:
        await _send(world, [vector[0] for vector in plain])
        await world.until(mirrored__received=len(plain), recorded__received=len(plain), pairs__match=len(kept))
    assert kept == sorted(link.accepted[Side.PRIMARY]) == sorted(link.accepted[Side.CANDIDATE])
    assert kept
