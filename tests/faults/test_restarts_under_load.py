"""Stop and kill the service under light load over open connections. The ledger counts each acknowledged id."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.faults.audit import EVERY_SAMPLE, SIDES, audit
from tests.faults.load import MIRRORED, RECORDED, TAKEN
from tests.integration.service.conftest import World
from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from tests.integration.service.redis_link import RedisLink

STOPS = 4
BETWEEN = 40
"""Acknowledged pairs between two stops."""


class Users:
    """Sends one request after another until `done` is set, and retries rejected requests."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.accepted_ids: dict[str, list[str]] = {MIRRORED: [], RECORDED: []}
        """The ids that got their 202, by row."""
        self.acknowledged = 0
        self.done = asyncio.Event()

    async def ask(self, name: str = "r") -> None:
        """Send mirrored copies and records, and count the pairs with both halves acknowledged."""
        async with mesh_of(self._service) as mesh:
            number = 0
            while not self.done.is_set():
                number += 1
                if await self._pair(mesh, f"{name}{number:06d}"):
                    self.acknowledged += 1
                else:
                    await asyncio.sleep(0.01)

    async def _pair(self, mesh: Mesh, request_id: str) -> bool:
        with suppress(aiohttp.ClientError, OSError):
            return await self._half(MIRRORED, request_id, mesh.mirror(request_id)) and await self._half(
                RECORDED, request_id, mesh.record(request_id, b"x")
            )
        return False

    async def _half(self, row: str, request_id: str, sending: Awaitable[int]) -> bool:
        is_taken = await sending == TAKEN
        if is_taken:
            self.accepted_ids[row].append(request_id)
        return is_taken

    async def reach(self, count: int) -> None:
        """Wait until this number of pairs is acknowledged."""
        async with asyncio.timeout(90):
            while self.acknowledged < count:  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.01)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_acknowledged_observations_are_in_the_ledger(
    tmp_path: Path, link: RedisLink, number: signal.Signals
) -> None:
    """A stop by SIGTERM loses no id that got a 202. A kill loses no id that Redis accepted. Each id counts once.

    v2 is unavailable, so each pair differs, and its id is in a sample.
    """
    service = Service(
        tmp_path,
        {
            "store": {"url": link.url},
            "pairing": {"window": "3s", "claim_idle": "1s"},
            "samples": EVERY_SAMPLE,
            "targets": [{"name": "shop", "hosts": ["shop"], "candidate": {"url": "http://127.0.0.1:1"}}],
        },
    )
    await asyncio.to_thread(service.start)
    users = Users(service)
    async with asyncio.TaskGroup() as group:
        group.create_task(users.ask())
        for stop in range(1, STOPS + 1):
            await users.reach(stop * BETWEEN)
            code = await asyncio.to_thread(service.stop, number)
            assert (0 if number is signal.SIGTERM else -number) == code
            await asyncio.to_thread(service.start)
        await users.reach((STOPS + 1) * BETWEEN)
        users.done.set()
    books = await service.until(lambda ledger: settled(ledger) and ledger["balanced"])
    async with mesh_of(service) as mesh:
        accepted = await audit(World(service, mesh), link, books)
    await asyncio.to_thread(service.stop)
    unparked = accepted.unparked(users.accepted_ids)
    if number is signal.SIGTERM:
        assert {MIRRORED: set[str](), RECORDED: set[str]()} == unparked
        assert (0, 0, 0) == (books["unclean_exits"], books[MIRRORED]["store_lost"], books[RECORDED]["store_lost"])
        assert (0, 0) == (books[MIRRORED]["crashed"], books[RECORDED]["crashed"])
        assert "are lost" not in service.log
    else:
        assert STOPS == books["unclean_exits"]
    for row, side in SIDES.items():
        taken = books[row]["forwarded" if row == MIRRORED else "accepted"]
        assert taken == books["observations"][side]["parked"] == accepted.rows[row].total()
