"""Workers are replaced, or crash, under load. No counter falls, and ids are checked against the replies.

Every pair differs, so it leaves a sample with its id. Each request uses its own connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.faults.audit import EVERY_SAMPLE
from tests.faults.load import MIRRORED, RECORDED, Load
from tests.integration.service.conftest import JSON, balanced_and_still, lines_of, metrics_of, settings, target
from tests.integration.service.processes import (
    WORKERS,
    agree,
    children,
    metrics_where,
    replacements,
    two_workers,
    until,
)
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.integration.service.conftest import Metrics, World

DIFFERS = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")
PAIRS = 40
ROLLS = 2
COUNTERS = ("_total", "_count", "_sum", "_bucket")


def _settings(url: str, port: int, **pairing: str) -> dict[str, Any]:
    config = settings(url, target(port), store={"prefix": f"workers{time.monotonic_ns()}"}, samples=EVERY_SAMPLE)
    config["pairing"] |= {"window": "4s"} | pairing
    return config | {"drain": "5s"}


@contextlib.asynccontextmanager
async def _no_counter_falls(world: World) -> AsyncGenerator[None]:
    """Scrape repeatedly while the block runs, and check that no counter falls or disappears."""
    fell: list[tuple[object, float, float | None]] = []
    scrapes = 0

    async def watch() -> None:
        nonlocal scrapes
        last: Metrics = {}
        while True:
            now = await metrics_of(world.service)
            fell.extend((key, was, now.get(key)) for key, was in last.items() if now.get(key, -1.0) < was)
            last = {key: value for key, value in now.items() if key[0].endswith(COUNTERS)}
            scrapes += 1

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        yield
        watching.cancel()
    assert [] == fell
    assert scrapes > 2


def _pairs(load: Load) -> set[str]:
    """Return the ids with a 202 for both halves."""
    return set(load.acknowledged[MIRRORED]) & set(load.acknowledged[RECORDED])


async def _reach(load: Load, more: int = PAIRS) -> None:
    count = len(load.acknowledged[MIRRORED]) + more
    await load.until(lambda: len(load.acknowledged[MIRRORED]) >= count)


async def _compared(world: World) -> set[str]:
    """Return the ids of the compared pairs, each of them once."""
    found = Counter(sample["request_id"] for sample in await world.samples())
    assert {1} == set(found.values())
    return set(found)


async def test_a_rolling_restart_under_load_loses_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    """SIGUSR1 replaces every worker. No connection breaks, and each acknowledged pair is compared once."""
    async with v2(always(DIFFERS)) as port, two_workers(tmp_path, _settings(redis_server.url, port)) as world:
        supervisor = world.service.process
        assert supervisor is not None
        load = Load(world, senders=4)
        async with _no_counter_falls(world), load.running():
            await _reach(load)
            for _ in range(ROLLS):
                before = children(supervisor.pid)
                world.service.send(signal.SIGUSR1)
                await until(lambda before=before: len(replacements(supervisor.pid, before)) == WORKERS)
                await _reach(load)
        assert 0 == load.unanswered
        books = await load.books()
        assert _pairs(load) == await _compared(world)
        assert len(_pairs(load)) == books["pairs"]["mismatch"] == books["pairs"]["ready"]
        assert (0, 0) == (books["unclean_exits"], books["mirrored"]["store_lost"] + books["recorded"]["store_lost"])
        assert lines_of(world.service, "all workers replaced")
        metrics = await metrics_of(world.service)
        assert 0 == metrics["shadowdiff_worker_crashes_total", ()]
        agree(metrics, books)


async def test_a_killed_worker_is_restarted(redis_server: RedisServer, tmp_path: Path) -> None:
    """Earlier results stay, requests after the restart are compared, and the crash is logged once."""
    config = _settings(redis_server.url, 0, claim_idle="1s")
    async with v2(always(DIFFERS)) as port:
        config["targets"] = [target(port)]
        async with two_workers(tmp_path, config) as world:
            supervisor = world.service.process
            assert supervisor is not None
            victim = min(children(supervisor.pid))
            load = Load(world, senders=4)
            async with _no_counter_falls(world), load.running():
                await world.service.until(lambda books: books["pairs"]["mismatch"] >= PAIRS)
                before = await _compared(world)
                os.kill(victim, signal.SIGKILL)
                await metrics_where(
                    world, lambda found: (found["shadowdiff_workers", ()], found["shadowdiff_worker_crashes_total", ()])
                    == (WORKERS, 1),
                )  # fmt: skip
                earlier = _pairs(load)
                await _reach(load)
            assert victim not in children(supervisor.pid)
            (line,) = lines_of(world.service, "worker exited; restarting")
            assert (victim, -signal.SIGKILL) == (line["pid"], line["exit"])
            books = await world.service.until(lambda books: balanced_and_still(books) and books["unclean_exits"] == 1)
            judged = await _compared(world)
            assert before <= judged <= _pairs(load)
            assert len(judged) == books["pairs"]["mismatch"] == books["pairs"]["ready"]
            # A pair in flight to the killed worker may lose either half. Later pairs are complete.
            after = {each for each in _pairs(load) - earlier if _number(each) > max(map(_number, earlier))}
            assert len(after) > PAIRS / 2
            assert after <= judged


def _number(request_id: str) -> int:
    return int(request_id.rpartition("-")[2])
