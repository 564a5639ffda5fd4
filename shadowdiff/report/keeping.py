"""Forget what is too old: fingerprints not seen for weeks with what was said of them, and samples past their age.

In: the store, the targets, and the clock.  Out: nothing.
Holds: a bounded number at a time, so that no call keeps Redis from the pairs; running twice, or in several processes
at once, is running once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from shadowdiff.model import Result
from shadowdiff.model.reader import Scores
from shadowdiff.model.write import SHELF
from shadowdiff.report.fingerprint import HOURS_LIVE_S, key_of
from shadowdiff.report.remarks import notes_key, states_key
from shadowdiff.report.samples import shelf_of
from shadowdiff.store import SWEEP_SHELF, Script, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
AT_ONCE: Final = 500
_PARTS: Final = ("last", "first", "count", "worst", "since", "what")
_FORGET: Final = Script(
    "forget.lua",
    b"""
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', '(' .. ARGV[1])
if #old > 0 then
  for i = 1, 5 do redis.call('ZREM', KEYS[i], unpack(old)) end
  redis.call('HDEL', KEYS[6], unpack(old))
end
return old
""",
)


class Keeping:
    """Forgets, every minute."""

    def __init__(
        self, store: Store, targets: Callable[[], Sequence[str]], now_ms: Callable[[], int], samples_ttl_s: int
    ) -> None:
        self._store = store
        self._targets = targets
        self._now_ms = now_ms
        self._samples_ttl_s = samples_ttl_s

    async def run(self) -> None:
        """Forget until cancelled; while the store is away, later."""
        while True:
            try:
                await self.forget()
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("forgetting waits for the store", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S)

    async def forget(self) -> None:
        """Forget what is too old now, up to a bound a target. Raises: redis.exceptions.RedisError."""
        for target in self._targets():
            for shard in range(self._store.shards):
                await self._forget_fingerprints(target, shard)
                for result in (Result.MISMATCH, Result.INCOMPARABLE):
                    keys = [f"{shelf_of(target, result)}:{part}" for part in SHELF]
                    before_ms = self._now_ms() - self._samples_ttl_s * 1000
                    await self._store.run(SWEEP_SHELF, shard, keys, [before_ms, AT_ONCE])

    async def _forget_fingerprints(self, target: str, shard: int) -> None:
        keys = [key_of(part, target) for part in _PARTS]
        before_ms = self._now_ms() - HOURS_LIVE_S * 1000
        found: list[Any] = await self._store.run(_FORGET, shard, keys, [before_ms, AT_ONCE])
        with reading(f"the fingerprints of {target}"):
            names = [name.decode() for name in found]
        if not names:
            return
        shards = await self._store.read([Scores(key_of("last", target), names)])
        gone = [name for name, *at in zip(names, *(held[0] for held in shards), strict=True) if not any(at)]
        for key in (states_key(target), notes_key(target)):
            if gone:
                await self._store.command("HDEL", self._store.keys.name(0, key), *gone)
