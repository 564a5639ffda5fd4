"""Stops and kills under light load over connections that stand: what was acknowledged is in the books."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

STOPS = 4
BETWEEN = 40
"""Acknowledged pairs between two stops."""


class Users:
    """Ask one request after another until told to stop; who is refused asks again."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.acknowledged = 0
        self.done = asyncio.Event()

    async def ask(self, name: str = "r") -> None:
        """Send mirrored copies and records; count the pairs of which both halves were acknowledged."""
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
            return await mesh.mirror(request_id) == 202 and await mesh.record(request_id, b"x") == 202
        return False

    async def reach(self, count: int) -> None:
        """Wait until so many pairs were acknowledged."""
        async with asyncio.timeout(90):
            while self.acknowledged < count:  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.01)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_what_was_acknowledged_is_in_the_books(
    tmp_path: Path, redis_server: RedisServer, number: signal.Signals
) -> None:
    """A stop loses nothing and is clean; a kill loses at most what was in memory; every row knows what was parked."""
    service = Service(
        tmp_path,
        {
            "store": {"url": redis_server.unix_url, "prefix": f"restart{number}"},
            "pairing": {"window": "3s", "claim_idle": "1s"},
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
    await asyncio.to_thread(service.stop)
    mirrored, recorded = books["mirrored"], books["recorded"]
    assert mirrored["forwarded"] == books["observations"]["candidate"]["parked"]
    assert recorded["accepted"] == books["observations"]["primary"]["parked"]
    if number is signal.SIGTERM:
        assert (0, 0, 0) == (books["unclean_exits"], mirrored["store_lost"], recorded["store_lost"])
        assert mirrored["forwarded"] >= users.acknowledged
        assert recorded["accepted"] >= users.acknowledged
        assert "are lost" not in service.log
    else:
        assert STOPS == books["unclean_exits"]
        # What a process had said yes to and not yet parked, nor told: on a busy machine more than a pair.
        assert mirrored["received"] >= users.acknowledged - STOPS * BETWEEN
