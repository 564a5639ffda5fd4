"""A worker dies by SIGKILL at random points under load. Every accepted observation counts once, and losses are bounded.

The audit compares ids. The link to Redis reads each id that Redis accepts, and every pair differs and leaves a sample
with its id, so both lists must be equal. A kill point is before or after a call to Redis, at its reply, or at a
response to a sender. A seed determines the kill point, and a failed test shows the seed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from shadowdiff.pairing import names
from shadowdiff.store.keys import Keys
from tests.faults.audit import EVERY_SAMPLE, SIDES, audit
from tests.faults.load import MIRRORED, RECORDED, SHED, Load, sheds
from tests.faults.moments import Moments
from tests.integration.service.conftest import JSON, World, balanced_and_still, metrics_of, settings, target
from tests.integration.service.redis_link import runs
from tests.integration.service.scripts import always, response, v2
from tests.integration.service.test_workers import children
from tests.running import TARGET, Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.audit import Accepted
    from tests.integration.service.redis_link import Ask, RedisLink, Words

KINDS = ("before it ran", "after it ran", "as it is answered", "acknowledged")
DEEP = [pytest.mark.deep, pytest.mark.timeout(1800)]
KILLS = [pytest.param(len(KINDS), id="quick"), pytest.param(50, marks=DEEP, id="deep")]
QUEUE = 64
SENDERS = 2
WORKERS = 2
PAIRS_BETWEEN = 20
"""Pairs that are counted between two kills."""
ANSWER = response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}")


class Points(Moments[str]):
    """Random kill points. An armed kill point kills one process once."""

    def __init__(self, draw: random.Random, kill: Callable[[], None]) -> None:
        super().__init__(draw, KINDS, within=30)
        self._kill = kill

    def _kills_at(self, kind: str) -> bool:
        if not self.is_now(kind):
            return False
        self._kill()
        self.note()
        return True

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Pass a call to Redis, or kill the process at this call."""
        del words
        if self._kills_at("before it ran"):
            return None
        answer = await ask()
        if self._kills_at("after it ran"):
            return None
        self._kills_at("as it is answered")
        return answer

    def on_acknowledged(self) -> None:
        """Record that a sender got a 202."""
        self._kills_at("acknowledged")


def _config(link: RedisLink, port: int) -> dict[str, Any]:
    return settings(
        link.url,
        target(port, candidate={"timeout": "1s", "queue_timeout": "1s"}),
        store={"queue": QUEUE},
        pairing={"window": "4s", "claim_idle": "500ms"},
        limits={"compare_ms": 400},
        samples=EVERY_SAMPLE,
    )


async def _loaded_until_killed(world: World, points: Points, name: str) -> Load:
    """Send load until new pairs are counted, then arm a point; return the ids that got a 202."""
    before = (await world.service.until(lambda books: books["balanced"]))["pairs"]["mismatch"]
    load = Load(world, senders=SENDERS, pace_s=0.02, name=name, on_acknowledged=points.on_acknowledged)
    async with load.running():
        await world.service.until(lambda books: books["pairs"]["mismatch"] >= before + PAIRS_BETWEEN)
        points.arm()
        async with asyncio.timeout(60):
            await points.reached.wait()
    return load


@pytest.mark.parametrize("kills", KILLS)
async def test_sigkill_at_random_points_loses_nothing(
    link: RedisLink, tmp_path: Path, kills: int, record_property: Callable[[str, object], None]
) -> None:
    """No accepted observation is lost and no pair counts twice.

    Each killed process loses at most the observations in its queue.
    """
    seed = int.from_bytes(os.urandom(4))
    async with v2(always(ANSWER)) as port:
        service = Service(tmp_path, _config(link, port))
        points = Points(random.Random(seed), lambda: service.send(signal.SIGKILL))
        link.on_call = points.on_call
        loads: list[Load] = []
        try:
            for number in range(kills):
                await asyncio.to_thread(service.start)
                async with mesh_of(service) as mesh:
                    loads.append(await _loaded_until_killed(World(service, mesh), points, f"{seed}-{number}-"))
                assert -signal.SIGKILL == await asyncio.to_thread(service.stop, signal.SIGKILL)
            await asyncio.to_thread(service.start)
            async with mesh_of(service) as mesh:
                figures = await _audit(World(service, mesh), link, loads, points)
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop, signal.SIGKILL)
    record_property("figures", figures)


@pytest.mark.parametrize("kills", KILLS)
async def test_sigkill_of_one_of_two_workers_loses_nothing(
    link: RedisLink, tmp_path: Path, kills: int, record_property: Callable[[str, object], None]
) -> None:
    """No accepted observation is lost if one of two workers dies while the other uses the same ports and Redis."""
    seed = int.from_bytes(os.urandom(4))
    draw = random.Random(seed)
    async with v2(always(ANSWER)) as port:
        service = Service(tmp_path, _config(link, port), arguments=["--workers", str(WORKERS)])

        def kill() -> None:
            assert service.process is not None
            os.kill(draw.choice(sorted(children(service.process.pid))), signal.SIGKILL)

        points = Points(draw, kill)
        link.on_call = points.on_call
        loads: list[Load] = []
        try:
            await asyncio.to_thread(service.start)
            for number in range(kills):
                async with mesh_of(service) as mesh:
                    loads.append(await _loaded_until_killed(World(service, mesh), points, f"{seed}-{number}-"))
                await _all_serve(service, number + 1)
            async with mesh_of(service) as mesh:
                figures = await _audit(World(service, mesh), link, loads, points)
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop)
    record_property("figures", f"one of two workers: {figures}")


async def _all_serve(service: Service, crashes: int) -> None:
    """Wait until the given number of crashes is detected and every worker runs again."""
    async with asyncio.timeout(60):
        while True:
            metrics = await metrics_of(service)
            noticed = metrics["shadowdiff_worker_crashes_total", ()]
            if (crashes, WORKERS) == (noticed, metrics["shadowdiff_workers", ()]):
                return
            await asyncio.sleep(0.05)


async def _audit(world: World, link: RedisLink, loads: list[Load], points: Points) -> str:
    """Check that accepted ids were compared, and that other losses fit in the queue of each killed process."""
    kills = len(loads)
    acknowledged = {row: [each for load in loads for each in load.acknowledged[row]] for row in SIDES}
    why = (loads[0].name, points.hit)
    books: Any = await world.service.until(
        lambda books: balanced_and_still(books) and books["unclean_exits"] == kills, within_s=60
    )
    accepted = await audit(world, link, books, why)
    assert points.hit.keys() == set(KINDS), why
    assert points.hit.total() == kills, why
    of_each = [_halves(accepted.unparked(load.acknowledged, load.name)) for load in loads]
    assert max(of_each) <= QUEUE, (why, of_each)
    in_flight = await asyncio.to_thread(_in_flight_of_each, link)
    assert sum(in_flight) == books[MIRRORED]["crashed"] + books[RECORDED]["crashed"], (why, in_flight)
    assert max(in_flight) <= QUEUE + SENDERS, (why, in_flight)
    return (
        f"{kills} kills ({dict(points.hit)}), {accepted.pairs.total()} pairs: 0 accepted lost, 0 counted twice;"
        f" {sum(of_each)} of {_halves(acknowledged)} acknowledged halves died unparked, {max(of_each)} at most of one"
        f" process; {_lone(accepted)} accepted halves ended as orphans; {sum(in_flight)} in flight before"
    )


def _in_flight_of_each(link: RedisLink) -> list[int]:
    """Return the last in-flight count of each process that crashed, which the ledger counts as `crashed`."""
    client: Any = Redis(port=link.upstream_port)
    with client:
        states: list[bytes] = client.hvals(Keys("sd", 1).name(0, names.PROCESSES))
    levels = [json.loads(state.partition(b" ")[2])[TARGET] for state in states]
    return [sum(each.values()) for each in levels]


def _halves(rows: Any) -> int:
    return sum(len(ids) for ids in rows.values())


def _lone(accepted: Accepted) -> int:
    return sum((ids - accepted.pairs).total() for ids in accepted.rows.values())


class HoldsParking:
    """Holds back flushes from Redis, so accepted requests wait in memory."""

    def __init__(self) -> None:
        self.is_on = False

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Hold back flushes, so that they never run, and pass every other call to Redis."""
        if self.is_on and runs(words, names.PARK):
            await asyncio.Event().wait()
        return await ask()


async def test_killed_process_loses_its_queue_and_the_ledger_counts_it(
    link: RedisLink, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A killed process loses exactly the ids that were acknowledged, not shed, and not accepted by Redis."""
    holds = HoldsParking()
    link.on_call = holds.on_call
    async with v2(always(ANSWER)) as port:
        service = Service(tmp_path, _config(link, port))
        await asyncio.to_thread(service.start)
        try:
            async with mesh_of(service) as mesh:
                load = Load(World(service, mesh), name="held-")
                async with load.running():
                    await service.until(lambda books: books["pairs"]["mismatch"] >= PAIRS_BETWEEN)
                    holds.is_on = True
                    await load.until(lambda: load.answers[RECORDED, SHED] >= 10 * QUEUE)
                answered = {row: load.answered_count(row) for row in SIDES}
                held = await service.until(
                    lambda books: all(books[row]["received"] == answered[row] for row in answered)
                )
                reasons = await sheds(World(service, mesh))
            await asyncio.to_thread(service.stop, signal.SIGKILL)
            holds.is_on = False
            await asyncio.to_thread(service.start)
            async with mesh_of(service) as mesh:
                books = await service.until(
                    lambda books: balanced_and_still(books) and books["unclean_exits"] == 1, within_s=60
                )
                accepted = await audit(World(service, mesh), link, books)
        finally:
            if service.process is not None:
                await asyncio.to_thread(service.stop)
    unparked = {row: len(ids) for row, ids in accepted.unparked(load.acknowledged).items()}
    turned_away = books[MIRRORED]["shed"] + books[MIRRORED]["store_lost"]  # acknowledged like all mirrored requests
    for row, without in ((MIRRORED, turned_away), (RECORDED, 0)):
        assert unparked[row] - without == held[row]["in_flight"] == books[row]["crashed"], row
        assert answered[row] == books[row]["received"], row
    assert reasons.total() == books[MIRRORED]["shed"] + books[RECORDED]["shed"]
    died = books[MIRRORED]["crashed"] + books[RECORDED]["crashed"]
    assert QUEUE // 2 < died <= QUEUE
    record_property("figures", f"{died} acknowledged halves died with a queue of {QUEUE}, each in the books")
