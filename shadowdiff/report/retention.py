"""Delete old data: fingerprints and causes that were not seen for weeks, old runs' tables, and samples over their age.

Each call deletes a limited number, so that it never blocks Redis. Several processes may run this at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from shadowdiff.model import SAMPLE_SET_PARTS, Result
from shadowdiff.model.store_reader import Scores
from shadowdiff.report.cause_writes import PARTS, history_key, table_key
from shadowdiff.report.fingerprint import HOURS_LIVE_S, key_of
from shadowdiff.report.samples import sample_set_key
from shadowdiff.store import STORE_ERRORS, SWEEP_SAMPLE_SET, Script, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
AT_ONCE: Final = 500
KEPT_RUNS: Final = 10
"""How many runs of a target keep their tables of changes."""
_EXPIRE_CHANGES: Final = Script.from_package("shadowdiff.report.lua", "expire_changes.lua")
_EXPIRE: Final = Script.from_package("shadowdiff.report.lua", "expire_fingerprints.lua")


async def _no_runs(_target: str) -> Sequence[int]:
    return ()


class Retention:
    """Deletes old data every minute."""

    def __init__(
        self,
        store: Store,
        targets: Callable[[], Sequence[str]],
        now_ms: Callable[[], int],
        samples_ttl_s: int,
        runs_of: Callable[[str], Awaitable[Sequence[int]]] = _no_runs,
    ) -> None:
        """runs_of: returns the ids of a target's newest runs, newest first."""
        self._store = store
        self._targets = targets
        self._now_ms = now_ms
        self._samples_ttl_s = samples_ttl_s
        self._runs_of = runs_of
        self._deleted: dict[str, set[int]] = {}

    async def run(self) -> None:
        """Delete until cancelled; retry while the store is unavailable."""
        while True:
            try:
                await self.delete_expired()
            except STORE_ERRORS as error:
                log.debug("store unavailable; will retry removing old samples", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S)

    async def delete_expired(self) -> None:
        """Delete data that is too old, up to a limit for each target. Raises: redis.exceptions.RedisError."""
        for target in self._targets():
            await self._delete_tables(target)
            for shard in range(self._store.shards):
                await self._delete_fingerprints(target, shard)
                for result in (Result.MISMATCH, Result.INCOMPARABLE):
                    keys = [f"{sample_set_key(target, result)}:{part}" for part in SAMPLE_SET_PARTS]
                    before_ms = self._now_ms() - self._samples_ttl_s * 1000
                    await self._store.run(SWEEP_SAMPLE_SET, shard, keys, [before_ms, AT_ONCE])

    async def _delete_tables(self, target: str) -> None:
        """Delete the tables of all but the newest runs, and changes and sets that were not seen for long."""
        deleted = self._deleted.setdefault(target, set())
        runs = list(dict.fromkeys(await self._runs_of(target)))  # a resumed run is listed again
        deleted.difference_update(runs[:KEPT_RUNS])
        old = [run for run in runs[KEPT_RUNS:] if run not in deleted]
        before_ms = self._now_ms() - HOURS_LIVE_S * 1000
        for shard in range(self._store.shards):
            if old:
                keys = [table_key(target, run, part) for run in old for part in PARTS]
                await self._store.command("UNLINK", *(self._store.keys.name(shard, key) for key in keys))
            keys = [history_key(target, part) for part in ("changed", "first", "worst", "revision")]
            await self._store.run(_EXPIRE_CHANGES, shard, keys, [before_ms, AT_ONCE])
            last = self._store.keys.name(shard, history_key(target, "last"))
            await self._store.command("ZREMRANGEBYSCORE", last, "-inf", f"({before_ms}")
        deleted.update(old)

    async def _delete_fingerprints(self, target: str, shard: int) -> None:
        keys = [key_of(part, target) for part in ("last", "first", "count", "worst", "since", "what")]
        before_ms = self._now_ms() - HOURS_LIVE_S * 1000
        found: list[Any] = await self._store.run(_EXPIRE, shard, keys, [before_ms, AT_ONCE])
        with reading(f"the fingerprints of {target}"):
            names = [name.decode() for name in found]
        if not names:
            return
        shards = await self._store.read([Scores(key_of("last", target), names)])
        gone = [name for name, *scores in zip(names, *(scores[0] for scores in shards), strict=True) if not any(scores)]
        for part in ("states", "notes") if gone else ():
            await self._store.command("HDEL", self._store.keys.name(0, key_of(part, target)), *gone)
