"""Keep what the gauges show: each target's ledger and verdict, as last read from the store.

Holds: a store that is away leaves the figures as they were; a scrape never waits for the store.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from shadowdiff.model import UNKNOWN_TARGET
from shadowdiff.pairing import Ledger, read_ledger
from shadowdiff.store import said
from shadowdiff.verdict import LedgerMarks, Verdict
from shadowdiff.web.views import verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.store import Store
    from shadowdiff.web import WebState

log = logging.getLogger(__name__)

EVERY_S = 5.0


class Gauges:
    """The ledgers and verdicts of every target."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self.ledgers: dict[str, Ledger] = {}
        self.verdicts: dict[str, Verdict] = {}
        self._store = store
        self._now_ms = now_ms
        self._marks = LedgerMarks(store)

    async def run(self, web: WebState) -> None:
        """Read them every few seconds, as the pages would, until cancelled."""
        while True:
            try:
                await self._read(web)
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("the gauges wait for the store", extra={"error": said(error)})
            await asyncio.sleep(EVERY_S)

    async def _read(self, web: WebState) -> None:
        views = web.targets()
        for name in [*(view.target.name for view in views), UNKNOWN_TARGET]:
            self.ledgers[name] = await read_ledger(self._store, name, prove=False)
            await self._marks.keep(name, self.ledgers[name], self._now_ms())
        for view in views:
            self.verdicts[view.target.name] = await verdict_of(web, view, "")
