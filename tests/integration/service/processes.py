"""Inspect a service of several processes from outside."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.integration.service.conftest import World, metrics_of
from tests.integration.service.test_metrics_agree import RESULTS, total
from tests.running import WITHIN_S, Mesh, Service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.integration.service.conftest import Metrics

WORKERS = 2
LONG_S = 1.5 * WITHIN_S


def children(pid: int) -> set[int]:
    """Return the serving processes that a supervisor started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in found if b"--control" in command_of(int(child))}


def replacements(pid: int, before: set[int]) -> set[int]:
    """Return the serving processes once no earlier one is left."""
    now = children(pid)
    return set() if now & before else now


def command_of(pid: int) -> list[bytes]:
    """Return the command line of a process, or an empty one if it has exited."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


async def until(condition: Callable[[], Any]) -> None:
    """Wait until `condition` is true."""
    async with asyncio.timeout(LONG_S):
        while not condition():  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def two_workers(folder: Path, config: dict[str, Any]) -> AsyncGenerator[World]:
    """Run two workers. Each request uses its own connection, so the kernel distributes them."""
    service = Service(folder, config, arguments=["--workers", str(WORKERS)])
    try:
        await asyncio.to_thread(service.start)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            yield World(service, Mesh(service, session))
    finally:
        if service.process is not None:
            await asyncio.to_thread(service.stop)


async def metrics_where(world: World, condition: Callable[[Metrics], bool]) -> Metrics:
    """Return the first scrape that meets `condition`."""
    found: Metrics = {}
    async with asyncio.timeout(LONG_S):
        while not found or not condition(found):
            found = await metrics_of(world.service)
            await asyncio.sleep(0.05)
    return found


def agree(metrics: Metrics, books: Any) -> None:
    """Check one scrape over all workers against the ledger."""
    assert {name: books["pairs"][name] for name in RESULTS} == {
        name: total(metrics, "shadowdiff_comparisons_total", target="shop", result=name) for name in RESULTS
    }
    assert books["mirrored"]["received"] == total(metrics, "shadowdiff_mirrored_requests_total", target="shop")
    assert books["recorded"]["received"] == total(metrics, "shadowdiff_records_total", target="shop")
