"""The worker shares its loop with the ports."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from shadowdiff.compare import Limits
from shadowdiff.store import Store, connect
from shadowdiff.worker import Worker
from shadowdiff.worker.loop import SLICE_S

if TYPE_CHECKING:
    from shadowdiff.worker.judge import Judge

BATCH = 5


class SlowJudge:
    """Takes longer than a slice over what is to be stored with each pair, as a large sample does."""

    def judged(self, judgement: int, _now_ms: int) -> int:
        """Return it as it is, later."""
        time.sleep(SLICE_S * 1.5)
        return judgement


async def test_the_loop_is_given_back_while_samples_are_made() -> None:
    """A batch of mismatches keeps no port waiting: others have a turn after each slow one, and the order stays."""
    nothing: Any = None
    worker = Worker(
        store=Store(connect("redis://127.0.0.1:1/0")),
        shard=0,
        claimer=nothing,
        judge=cast("Judge", SlowJudge()),
        pool=nothing,
        limits=Limits(),
        tally=nothing,
        claim_idle_s=1.0,
    )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(others())
        judged = await worker._judged(cast("Any", range(BATCH)))  # pyright: ignore[reportPrivateUsage]
        waiting.cancel()
    assert (list(range(BATCH)), True) == (cast("Any", judged), turns >= BATCH - 1)
