"""Check that every id in Redis was compared exactly once.

Every differing pair leaves a sample with its id. Totals alone would not reveal one lost and one duplicated pair.
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
WITHIN_S = 90.0
EVERY_SAMPLE = {"keep": KEPT, "per_fingerprint": KEPT, "size": "1GiB"}
"""Settings under which every differing pair leaves its id, however many pairs a slow machine lets through."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """How often Redis accepted each id, keyed by row of the ledger."""

    rows: Mapping[str, Counter[str]]

    @property
    def pairs(self) -> Counter[str]:
        """Return the ids of pairs for which Redis accepted both halves."""
        return self.rows[MIRRORED] & self.rows[RECORDED]

    def unparked(self, acknowledged: Mapping[str, list[str]], begin: str = "") -> dict[str, set[str]]:
        """Return, for each ledger row, the ids with this prefix that got a 202 but that Redis did not accept."""
        return {
            row: {each for each in ids if each.startswith(begin)} - self.rows[row].keys()
            for row, ids in acknowledged.items()
        }


async def audit(
    world: World, link: RedisLink, books: Any, why: object = "", *, outlasts_window: bool = False
) -> Accepted:
    """Compare samples and ledger with the ids that Redis accepted, and return these ids.

    why: shown on failure. outlasts_window: whether a fault may delay one half of a pair until the window ends. The
    ledger must then have an orphan and a late observation for the pair.
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
    """Return the samples. The API can return one 503 for each connection that broke when Redis died."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await world.samples()
            except HTTPError as error:
                if error.code != STORE_AWAY:
                    raise
                await asyncio.sleep(0.1)
