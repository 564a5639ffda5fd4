"""The supervisor detects and replaces a stopped worker. Meanwhile, the other workers accept its load."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.service.conftest import World, lines_of, metrics_of, settings, target
from tests.integration.service.scripts import echoes_the_path, v2
from tests.integration.service.test_workers import children
from tests.running import Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import RedisServer

WORKERS = 2
PAIRS = 20
SHIPPED_S = 60
PATIENCE_S = [
    pytest.param(5, id="quick"),
    pytest.param(SHIPPED_S, marks=[pytest.mark.deep, pytest.mark.timeout(480)], id="as shipped"),
]


@pytest.mark.parametrize("patience_s", PATIENCE_S)
async def test_hung_worker_is_replaced(
    redis_server: RedisServer, tmp_path: Path, patience_s: int, record_property: Callable[[str, object], None]
) -> None:
    """After SIGSTOP and the timeout, the worker is killed and counted as a crash, and its claims are compared."""
    config = settings(
        redis_server.url, store={"prefix": f"hung{time.monotonic_ns()}"}, pairing={"window": "3s", "claim_idle": "1s"}
    )
    service = Service(tmp_path, config, arguments=["--workers", str(WORKERS)])
    if patience_s != SHIPPED_S:
        service.program = ["tests.faults.impatient", str(patience_s)]
    async with v2(echoes_the_path(lambda _path: b"{}")) as port:
        config["targets"] = [target(port)]
        try:
            await asyncio.to_thread(service.start)
            assert service.process is not None
            before = children(service.process.pid)
            await _pairs(service, "before")
            victim = min(before)
            os.kill(victim, signal.SIGSTOP)
            stopped_s = time.monotonic()
            if patience_s != SHIPPED_S:
                service.send(signal.SIGUSR2)
            async with asyncio.timeout(patience_s + 60):
                while victim in children(service.process.pid):  # noqa: ASYNC110 - another process has no event
                    await asyncio.sleep(0.05)
                noticed_s = time.monotonic() - stopped_s
                if patience_s != SHIPPED_S:
                    service.send(signal.SIGUSR2)
                while len(children(service.process.pid)) < WORKERS:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            async with asyncio.timeout(60):
                while (await metrics_of(service))["shadowdiff_workers", ()] < WORKERS:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            (line,) = lines_of(service, "worker not responding; killing it")
            assert victim == line["pid"]
            assert 1 == (await metrics_of(service))["shadowdiff_worker_crashes_total", ()]
            await _pairs(service, "after")
            books = await service.until(lambda books: books["pairs"]["match"] == 2 * PAIRS and books["balanced"])
            assert 1 == books["unclean_exits"]
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop)
    record_property("figures", f"noticed and killed {noticed_s:.0f} s after it was stopped")


async def _pairs(service: Service, name: str) -> None:
    """Send pairs, and wait until they are counted."""
    async with mesh_of(service) as mesh:
        world = World(service, mesh)
        before = (await service.until(lambda _: True))["pairs"]["match"]
        for number in range(PAIRS):
            await world.both(f"{name}-{number}", b"{}")
        await service.until(lambda books: books["pairs"]["match"] == before + PAIRS)
