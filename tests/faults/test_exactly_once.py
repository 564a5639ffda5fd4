"""Twenty services die by SIGKILL under load, and every accepted pair is counted exactly once.

The test compares ids. The link to Redis reads each id that Redis accepts. Every pair differs, so every pair's id must
be in a sample. Totals alone would not reveal one lost and one duplicated pair.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp
import pytest

from shadowdiff.model import Side
from shadowdiff.pairing import names
from tests.integration.service.conftest import JSON, World, balanced_and_still, settings, target
from tests.integration.service.redis_link import Ask, RedisLink, Words, is_an_error, runs
from tests.integration.service.scripts import always, response, v2
from tests.running import WITHIN_S, Mesh, Service, mesh_of

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 20
AT_ONCE = 2
PACE_S = 0.01  # enough load on a busy machine, and few enough pairs to store every sample on a fast machine
CLAIM_IDLE_MS = 500
KEPT = 100_000


class CommitGate:
    """Holds one commit call in the link, before or after Redis runs it, until the service is dead."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self._after: bool | None = None
        self._ran: list[bool] = []

    def close(self, *, after: bool) -> None:
        """Hold the next commit. With `after`, Redis runs the commit, and only the reply is lost."""
        self.held.clear()
        self._after = after

    @property
    def ran(self) -> int:
        """Return how many of the held commits ran in Redis."""
        return sum(self._ran)

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Hold the awaited commit call, and pass every other call to Redis."""
        if self._after is None or not runs(words, names.COMMIT):
            return await ask()
        after, self._after = self._after, None
        if after:
            answer = await ask()
            if is_an_error(answer):  # the script was not yet loaded in Redis, so no commit ran
                self._after = after
                return answer
        self._ran.append(after)
        self.held.set()
        await asyncio.Event().wait()
        return None


async def _load(mesh: Mesh, numbers: itertools.count[int]) -> None:
    """Send pairs one after another at a steady pace until the service has exited."""
    while True:
        request_id = f"pair-{next(numbers)}"
        try:
            await mesh.record(request_id, b'{"side": "v1"}', h_content_type=JSON)
            await mesh.mirror(request_id)
            await asyncio.sleep(PACE_S)
        except (aiohttp.ClientError, OSError):
            return


@pytest.mark.timeout(480)
async def test_every_accepted_pair_counts_once(link: RedisLink, tmp_path: Path) -> None:
    """Half of the kills happen before Redis runs a commit, and half between the commit and its reply."""
    gate = CommitGate()
    link.on_call = gate.on_call
    config = settings(
        link.url,
        pairing={"window": "4s", "claim_idle": f"{CLAIM_IDLE_MS}ms"},
        limits={"compare_ms": 400},
        samples={"keep": KEPT},
    )
    numbers = itertools.count()
    async with v2(always(response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port, candidate={"timeout": "1s", "queue_timeout": "1s"})]
        service = Service(tmp_path, config)
        try:
            for kill in range(KILLS):
                await asyncio.to_thread(service.start)
                await _loaded_until_held(service, gate, numbers, after=kill % 2 == 1)
                assert service.stop(signal.SIGKILL) == -signal.SIGKILL
            await asyncio.to_thread(service.start)
            await _audit(service, link, gate)
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop, signal.SIGKILL)


async def _loaded_until_held(service: Service, gate: CommitGate, numbers: itertools.count[int], *, after: bool) -> None:
    """Send load until the dead service's claims are recovered and new pairs are counted.

    Then hold a commit, and kill.
    """
    before = (await service.until(lambda books: books["balanced"]))["mirrored"]["received"]
    async with mesh_of(service) as mesh, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_load(mesh, numbers)) for _ in range(AT_ONCE)]
        await service.until(
            lambda books: books["mirrored"]["received"] > before + 10 and books["pairs"]["pending"] <= AT_ONCE
        )
        gate.close(after=after)
        async with asyncio.timeout(WITHIN_S):
            await gate.held.wait()
        service.send(signal.SIGKILL)
        await asyncio.wait(tasks)


async def _audit(service: Service, link: RedisLink, gate: CommitGate) -> None:
    books = await service.until(
        lambda books: (
            balanced_and_still(books) and books["unclean_exits"] == KILLS and books["mirrored"]["received"] > KILLS
        )
    )
    accepted = {side: Counter(link.accepted[side]) for side in (Side.PRIMARY, Side.CANDIDATE)}
    pairs = accepted[Side.PRIMARY] & accepted[Side.CANDIDATE]
    assert {1} == set(accepted[Side.PRIMARY].values()) | set(accepted[Side.CANDIDATE].values())
    async with mesh_of(service) as mesh:
        found = Counter(sample["request_id"] for sample in await World(service, mesh).samples())
    assert pairs.total() < KEPT
    assert {} == pairs - found, "accepted, and not counted"
    assert {} == found - pairs, "counted, and not accepted"
    assert pairs.total() == books["pairs"]["mismatch"] == books["pairs"]["ready"]
    assert pairs.total() >= KILLS
    assert gate.ran >= 5
    assert books["mirrored"]["crashed"] + books["recorded"]["crashed"] > 0
    for side, row in books["observations"].items():
        if side != Side.CONTROL:
            assert accepted[Side(side)].total() == row["parked"]
            assert accepted[Side(side)].total() - pairs.total() == row["orphaned"]
