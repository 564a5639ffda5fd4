"""Redis goes under load: memory is bounded, every loss has its reason, no port waits, and it goes on by itself.

In the end the ledger is held to what the senders were told, and the samples to the ids that Redis accepted.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from tests.faults.audit import EVERY_SAMPLE, audit
from tests.faults.load import GROWS_AT_MOST_MIB, MIRRORED, RECORDED, SHED, SHED_AT_LEAST, TAKEN, Load, large, sheds
from tests.faults.outage import How, Outage, made_durable
from tests.integration.service.conftest import JSON, metrics_of, serving, settings, target
from tests.integration.service.scripts import response, says, v2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import RedisLink
    from tests.running import Service

ANSWER = large("v2")
QUEUE = 100
"""Observations that may wait for the store: few, so that a short outage already sheds."""
BEFORE = 50
READY_WITHIN_S = 5.0
GONE_S = [pytest.param(1, id="quick"), pytest.param(30, marks=[pytest.mark.deep, pytest.mark.timeout(600)], id="deep")]


async def _ready(service: Service) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        while not await asyncio.to_thread(service.answers, "metrics", "/readyz"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("gone_s", GONE_S)
@pytest.mark.parametrize("how", ["refuses", "hangs", "is killed"])
async def test_redis_is_gone_under_load(
    link: RedisLink,
    own_redis: OwnRedis,
    tmp_path: Path,
    how: How,
    gone_s: int,
    *,
    record_property: Callable[[str, object], None],
) -> None:
    """What finds no room is shed and counted, what was taken is parked later, and new pairs are compared at once."""
    await made_durable(own_redis)
    outage = Outage(how, link, own_redis)
    config = settings(
        link.url,
        store={"queue": QUEUE},
        pairing={"window": f"{gone_s + 10}s", "claim_idle": "1s"},
        samples=EVERY_SAMPLE,
    )
    async with v2(says(response(ANSWER, "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            service = world.service
            load = Load(world, body=large("v1"))
            async with load.running():
                await service.until(lambda books: books["pairs"]["mismatch"] >= BEFORE)
                before_mib, slowest_s = service.peak_mib(), load.slowest_s
                await outage.begin()
                end_s = time.monotonic() + gone_s
                await load.until(lambda: load.answers[RECORDED, SHED] >= SHED_AT_LEAST and time.monotonic() > end_s)
                assert service.answers("metrics", "/readyz")
                assert service.answers("metrics", "/healthz")
                await outage.end()
                taken, back_at_s = load.answers[RECORDED, TAKEN], time.monotonic()
                await _ready(service)
                await load.until(lambda: load.answers[RECORDED, TAKEN] > taken, READY_WITHIN_S)
                takes_after_s = time.monotonic() - back_at_s
            await load.compared(ANSWER)
            compares_after_s = time.monotonic() - back_at_s
            books = await load.books(within_s=gone_s + 90)
            grown_mib = service.peak_mib() - before_mib  # and not of the samples that are read below
            await audit(world, link, books, outlasts_window=True)
            reasons = await sheds(world)
    assert reasons["overload"] > 0
    assert 0 == books["unclean_exits"]
    assert grown_mib < GROWS_AT_MOST_MIB
    record_property(
        "figures",
        f"{how}: of {books['mirrored']['received']} pairs of {len(ANSWER) >> 10} KiB each,"
        f" {books['recorded']['shed']} records and {books['mirrored']['shed']} requests shed {dict(reasons)},"
        f" {books['mirrored']['store_lost']} answers of v2 lost; takes again after {takes_after_s:.1f} s, compares a"
        f" new pair after {compares_after_s:.1f} s; slowest answer {load.slowest_s * 1000:.0f} ms"
        f" ({slowest_s * 1000:.0f} ms before), {grown_mib} MiB more memory",
    )


async def test_answers_of_v2_that_find_no_room_are_counted(link: RedisLink, tmp_path: Path) -> None:
    """Of what was at v2 when Redis went, as many answers wait as the queue holds; the rest is `store_lost`."""
    free = asyncio.Event()

    async def holds(_head: bytes, writer: asyncio.StreamWriter) -> None:
        await free.wait()
        writer.write(response(ANSWER, "200 OK", f"content-type: {JSON}"))

    config = settings(link.url, store={"queue": QUEUE}, pairing={"window": "4s"})
    async with v2(holds) as port:
        config["targets"] = [target(port, candidate={"concurrency": 2 * QUEUE, "timeout": "60s"})]
        async with serving(tmp_path, config) as world:
            load = Load(world)
            for number in range(2 * QUEUE):
                await load.one(MIRRORED, f"held-{number}", world.mesh.mirror(f"held-{number}"))
            await link.down()
            free.set()
            lost = ("shadowdiff_mirrored_requests_total", (("disposition", "store_lost"), ("target", world.target)))
            async with asyncio.timeout(30):
                while (await metrics_of(world.service)).get(lost) != QUEUE:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await link.up()
            books = await load.books()
    assert (QUEUE, QUEUE) == (books["mirrored"]["forwarded"], books["mirrored"]["store_lost"])
    assert QUEUE == books["observations"]["candidate"]["orphaned"] == len(link.accepted[Side.CANDIDATE])
