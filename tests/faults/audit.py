"""Hold the ids that Redis accepted against those that were judged: none lost, none twice, each half in its place.

In: a link that read each id as Redis accepted it, the service over it, its books once nothing is on its way.
Out: what was accepted, by row and id.  Holds: pairs differ and so leave a sample with their id, but for those that
were sent to match; totals alone would hide one lost and one doubled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from shadowdiff.model import Side
from tests.faults.load import MATCHES, MIRRORED, RECORDED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.service.conftest import World
    from tests.integration.service.redis_link import RedisLink

SIDES = {MIRRORED: Side.CANDIDATE, RECORDED: Side.PRIMARY}
KEPT = 10_000
STORE_AWAY = 503
WITHIN_S = 30.0
EVERY_SAMPLE = {"keep": KEPT, "per_fingerprint": KEPT}
"""Settings under which a pair that differs leaves its id."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """How often Redis accepted each id, by row."""

    rows: Mapping[str, Counter[str]]

    @property
    def pairs(self) -> Counter[str]:
        """Return the ids of which both halves were accepted."""
        return self.rows[MIRRORED] & self.rows[RECORDED]

    def unparked(self, acknowledged: Mapping[str, list[str]], begin: str = "") -> dict[str, set[str]]:
        """Return the ids that got a 202 and that Redis did not accept, by row; only those that begin so."""
        return {
            row: {each for each in ids if each.startswith(begin)} - self.rows[row].keys()
            for row, ids in acknowledged.items()
        }


async def audit(
    world: World, link: RedisLink, books: Any, why: object = "", *, outlasts_window: bool = False
) -> Accepted:
    """Hold samples and books to what Redis accepted; return that.

    why: what a failure is to name.  outlasts_window: the fault may have kept the halves of a pair apart for longer than
    their window; each such pair has to stand in the books as an orphan and a half that came late.
    """
    accepted = Accepted({row: Counter(link.accepted[side]) for row, side in SIDES.items()})
    pairs = accepted.pairs
    assert {1} == {times for ids in accepted.rows.values() for times in ids.values()}, why
    differing = Counter({each: times for each, times in pairs.items() if not each.startswith(MATCHES)})
    assert 0 < differing.total() < KEPT, why
    found = Counter(sample["request_id"] for sample in await _samples(world))
    apart = differing - found
    assert outlasts_window or {} == apart, (why, "accepted, and not counted")
    assert {} == found - differing, (why, "counted, or counted twice, and not accepted")
    judged = pairs - apart
    rows = {row: books["observations"][side] for row, side in SIDES.items()}
    assert sum(row["late"] for row in rows.values()) == apart.total(), (why, rows, apart)
    for row, counts in rows.items():
        assert accepted.rows[row].total() == counts["parked"], (why, rows, row, accepted.rows[row].total())
        assert judged.total() == counts["paired"], (why, rows)
        assert (accepted.rows[row] - judged).total() == counts["orphaned"] + counts["late"], (why, rows)
    said = {name: books["pairs"][name] for name in ("ready", "mismatch", "match")}
    matching = judged.total() - found.total()
    assert {"ready": judged.total(), "mismatch": found.total(), "match": matching} == said, why
    return accepted


async def _samples(world: World) -> list[Any]:
    """Return the samples; asked over a connection that died with Redis, the API says 503, and then opens another."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await world.samples()
            except HTTPError as error:
                if error.code != STORE_AWAY:
                    raise
                await asyncio.sleep(0.1)
