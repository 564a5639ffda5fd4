"""Redis fails under load: memory is bounded, every loss has a reason, no port blocks, and the service recovers.

At the end, the ledger must equal the senders' counts, and the samples' ids must equal the ids that Redis accepted.
Limits are counts, not times, so a busy machine only takes longer.
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
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.service.conftest import World
    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import RedisLink

ANSWER = large("v2")
QUEUE = 100
"""Observations that may wait for the store: few, so that a short outage already sheds."""
BEFORE = 50
WITHIN_S = 300.0
"""After this time a test hangs."""
ACCEPTS_WITHIN_S = 5.0
GONE_S = [
    pytest.param(1, marks=pytest.mark.timeout(600), id="quick"),
    pytest.param(30, marks=[pytest.mark.deep, pytest.mark.timeout(900)], id="deep"),
]


async def _assert_ready(world: World) -> None:
    """Fail on any status except 200. A busy machine may respond slowly."""
    for path in ("/readyz", "/healthz"):
        async with world.mesh.session.get(world.service.url("metrics", path)) as reply:
            assert 200 == reply.status, path


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
    """Requests above the queue limit are shed and counted. Accepted requests are stored later, and pairs form again."""
    await made_durable(own_redis)
    outage = Outage(how, link, own_redis)
    config = settings(
        link.url,
        store={"queue": QUEUE},
        pairing={"window": f"{gone_s + 10}s", "claim_idle": "1s"},
        samples=EVERY_SAMPLE,
    )
    async with v2(always(response(ANSWER, "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port)]
        async with serving(tmp_path, config) as world:
            service = world.service
            load = Load(world, body=large("v1"))
            async with load.running():
                await service.until(lambda books: books["pairs"]["mismatch"] >= BEFORE)
                before_mib, slowest_s = service.peak_mib(), load.slowest_s
                await outage.begin()
                end_s = time.monotonic() + gone_s
                await load.until(
                    lambda: load.answers[RECORDED, SHED] >= SHED_AT_LEAST and time.monotonic() > end_s, WITHIN_S
                )
                await _assert_ready(world)
                await outage.end()
                taken, shed, back_at_s = load.answers[RECORDED, TAKEN], load.answers[RECORDED, SHED], time.monotonic()
                await _assert_ready(world)
                await load.until(lambda: load.answers[RECORDED, TAKEN] > taken, WITHIN_S)
                assert load.answers[RECORDED, SHED] - shed <= load.most_pairs(ACCEPTS_WITHIN_S)
                takes_after_s = time.monotonic() - back_at_s
            await load.compared(ANSWER, WITHIN_S)
            compares_after_s = time.monotonic() - back_at_s
            books = await load.books(WITHIN_S)
            grown_mib = service.peak_mib() - before_mib  # excludes the samples that the test reads below
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


async def test_responses_of_v2_without_room_are_counted(link: RedisLink, tmp_path: Path) -> None:
    """When Redis fails, v2's responses wait until the queue is full. Later responses count as `store_lost`."""
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
            async with asyncio.timeout(60):
                while (await metrics_of(world.service)).get(lost) != QUEUE:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await link.up()
            books = await load.books()
    assert (QUEUE, QUEUE) == (books["mirrored"]["forwarded"], books["mirrored"]["store_lost"])
    assert QUEUE == books["observations"]["candidate"]["orphaned"] == len(link.accepted[Side.CANDIDATE])
