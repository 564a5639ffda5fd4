"""A worker dies by SIGKILL at random points under load: what was accepted counts once, and what was not is bounded.

The audit is by id: the link to Redis reads each id that Redis accepted, every pair differs and so leaves a sample with
its id, and the two lists are the same. A point is a call to Redis, before it ran, after it ran or as its answer
goes out, or an acknowledgement to a sender: drawn from a seed that a failure names.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.model import Side
from tests.faults.load import MIRRORED, RECORDED, Load
from tests.integration.service.conftest import JSON, World, balanced_and_still, settings, target
from tests.integration.service.scripts import response, says, v2
from tests.running import Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.redis_link import Ask, RedisLink, Words

KILLS = [pytest.param(3, id="quick"), pytest.param(50, marks=[pytest.mark.deep, pytest.mark.timeout(1800)], id="deep")]
QUEUE = 64
SIDES = {MIRRORED: Side.CANDIDATE, RECORDED: Side.PRIMARY}
PAIRS_BETWEEN = 20
"""Pairs of each process that are counted before it dies."""
KEPT = 10_000


class Point:
    """A random moment: armed, it kills once."""

    def __init__(self, draw: random.Random, kill: Callable[[], None]) -> None:
        self._draw = draw
        self._kill = kill
        self.reached = asyncio.Event()
        self._calls = -1
        self._when = ""

    def arm(self) -> None:
        """Draw the next moment."""
        self.reached.clear()
        self._when = self._draw.choice(("before it ran", "after it ran", "as it is answered", "acknowledged"))
        self._calls = self._draw.randrange(30)

    def _is_now(self, *whens: str) -> bool:
        if self._calls < 0 or self._when not in whens:
            return False
        self._calls -= 1
        if self._calls >= 0:
            return False
        self._kill()
        self.reached.set()
        return True

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Let a call through, or kill at it."""
        del words
        if self._is_now("before it ran"):
            return None
        answer = await ask()
        if self._is_now("after it ran"):
            return None
        self._is_now("as it is answered")
        return answer

    def on_acknowledged(self) -> None:
        """Note that a sender was told 202."""
        self._is_now("acknowledged")


@pytest.mark.parametrize("kills", KILLS)
async def test_sigkill_at_random_points_loses_and_doubles_nothing(
    link: RedisLink, tmp_path: Path, kills: int, record_property: Callable[[str, object], None]
) -> None:
    """0 accepted observations lost, 0 pairs counted twice; what died unparked is at most the queue of each process."""
    seed = int.from_bytes(os.urandom(4))
    draw = random.Random(seed)
    config = settings(
        link.url,
        pairing={"window": "4s", "claim_idle": "500ms"},
        limits={"compare_ms": 400},
        samples={"keep": KEPT, "per_fingerprint": KEPT},
    )
    config["store"]["queue"] = QUEUE
    async with v2(says(response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port, candidate={"timeout": "1s", "queue_timeout": "1s"})]
        service = Service(tmp_path, config)
        point = Point(draw, lambda: service.send(signal.SIGKILL))
        link.on_call = point.on_call
        try:
            acknowledged: dict[str, list[str]] = {row: [] for row in SIDES}
            for number in range(kills):
                await asyncio.to_thread(service.start)
                told = await _loaded_until_killed(service, point, f"{seed}-{number}")
                for row, ids in told.items():
                    acknowledged[row] += ids
                assert -signal.SIGKILL == await asyncio.to_thread(service.stop, signal.SIGKILL)
            await asyncio.to_thread(service.start)
            figures = await _audit(service, link, acknowledged, kills, seed)
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop, signal.SIGKILL)
    record_property("figures", figures)


async def _loaded_until_killed(service: Service, point: Point, name: str) -> dict[str, list[str]]:
    """Send load; once this process has counted new pairs, arm the point; return the ids that got their 202."""
    before = (await service.until(lambda books: books["balanced"]))["pairs"]["mismatch"]
    async with mesh_of(service) as mesh:
        load = Load(World(service, mesh), senders=2, pace_s=0.02, name=name, on_acknowledged=point.on_acknowledged)
        async with load.running():
            await service.until(lambda books: books["pairs"]["mismatch"] >= before + PAIRS_BETWEEN)
            point.arm()
            async with asyncio.timeout(30):
                await point.reached.wait()
        return load.acknowledged


async def _audit(service: Service, link: RedisLink, acknowledged: dict[str, list[str]], kills: int, seed: int) -> str:
    books: Any = await service.until(
        lambda books: balanced_and_still(books) and books["unclean_exits"] == kills, within_s=60
    )
    accepted = {row: Counter(link.accepted[side]) for row, side in SIDES.items()}
    pairs = accepted[MIRRORED] & accepted[RECORDED]
    assert {1} == set(accepted[MIRRORED].values()) | set(accepted[RECORDED].values()), seed
    async with mesh_of(service) as mesh:
        found = Counter(sample["request_id"] for sample in await World(service, mesh).samples())
    assert pairs.total() < KEPT
    assert {} == pairs - found, (seed, "accepted, and not counted")
    assert {} == found - pairs, (seed, "counted, and not accepted")
    assert pairs.total() == books["pairs"]["mismatch"] == books["pairs"]["ready"], seed
    unparked: dict[str, int] = {}
    for row, side in SIDES.items():
        counts = books["observations"][side]
        assert accepted[row].total() == counts["parked"] == counts["paired"] + counts["orphaned"], seed
        unparked[row] = (Counter(acknowledged[row]) - accepted[row]).total()
    assert sum(unparked.values()) <= kills * QUEUE, seed
    crashed = books["mirrored"]["crashed"] + books["recorded"]["crashed"]
    return (
        f"{kills} kills, {pairs.total()} pairs: 0 accepted lost, 0 counted twice; {sum(unparked.values())} of"
        f" {sum(map(len, acknowledged.values()))} acknowledged halves died unparked, {crashed} of them told before"
    )
