"""If Redis runs a call and the reply is lost, the service repeats the call, and nothing counts twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from shadowdiff.pairing import names
from tests.integration.service.conftest import JSON, World, serving, settings, target
from tests.integration.service.redis_link import Ask, RedisLink, Words, is_an_error, runs
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from pathlib import Path

    from shadowdiff.store import Script

PAIRS = 120
LOST = {"park": names.PARK, "commit": names.COMMIT, "books": names.SYNC_LEDGER, "sweep": names.SWEEP}


class LosesAnswers:
    """Closes the link before the reply to the first call of one script, and then to every third call."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.ran = 0
        self.lost = 0

    async def on_call(self, words: Words, ask: Ask) -> bytes | None:
        """Let the call run, then pass on or drop the reply."""
        answer = await ask()
        if is_an_error(answer) or not runs(words, self._script):
            return answer
        self.ran += 1
        if self.ran % 3 != 1:
            return answer
        self.lost += 1
        return None


@pytest.mark.parametrize("which", LOST)
async def test_lost_reply_counts_nothing_twice(link: RedisLink, tmp_path: Path, which: str) -> None:
    """If the replies of one script are lost repeatedly, each id is stored, paired and sampled once."""
    loses = LosesAnswers(LOST[which])
    link.on_call = loses.on_call
    config = settings(link.url, pairing={"window": "4s", "claim_idle": "1s"}, samples={"keep": 10_000})
    async with v2(always(response(b'{"side": "v2"}', "200 OK", f"content-type: {JSON}"))) as port:
        config["targets"] = [target(port, candidate={"timeout": "1s", "queue_timeout": "1s"})]
        async with serving(tmp_path, config) as world:
            await _send(world)
            books = await world.until(
                pairs__mismatch=PAIRS,
                pairs__ready=PAIRS,
                mirrored__forwarded=PAIRS,
                recorded__accepted=PAIRS + 2,
                observations__primary__orphaned=2,
            )
            found = Counter(sample["request_id"] for sample in await world.samples())
    assert Counter({f"pair-{number}": 1 for number in range(PAIRS)}) == found
    assert (PAIRS + 2, PAIRS) == tuple(books["observations"][side]["parked"] for side in (Side.PRIMARY, Side.CANDIDATE))
    assert loses.lost >= 1
    assert link.cuts == loses.lost


async def _send(world: World) -> None:
    """Send pairs, and two primaries whose partners never arrive."""
    for alone in range(2):
        assert await world.mesh.record(f"alone-{alone}", b"{}", h_content_type=JSON) == 202
    for first in range(0, PAIRS, 10):
        async with asyncio.TaskGroup() as group:
            for number in range(first, first + 10):
                group.create_task(world.both(f"pair-{number}", b'{"side": "v1"}'))
