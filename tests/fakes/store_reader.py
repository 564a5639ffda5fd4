"""A store in memory that applies writes as the commit script does, and reads them back.

In: `model.Write` values, as stages return them.  Out: a `StoreReader`.
Holds: the caps, the bounds of lists and the times to live mean what they mean in the real store.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, assert_never

from shadowdiff.model import Expire, Incr, Push, Put, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

OTHER = "_other"


class MemoryStore:
    """One shard in memory; `now_s` is the clock that times to live are measured by."""

    def __init__(self, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self._now_s = now_s
        self._hashes: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._lists: defaultdict[str, list[bytes]] = defaultdict(list)
        self._strings: dict[str, bytes] = {}
        self._until_s: dict[str, float] = {}

    def commit(self, writes: Iterable[Write]) -> None:
        """Apply the writes of one pair."""
        for write in writes:
            self._apply(write)

    def names(self) -> set[str]:
        """Return every key that holds something now."""
        self._expire()
        return {*self._hashes, *self._lists, *self._strings}

    def texts(self) -> list[bytes]:
        """Return every stored byte string, for tests of what must not come to rest."""
        return [*self._strings.values(), *(value for values in self._lists.values() for value in values)]

    async def counts(self, key: str) -> dict[str, int]:
        """Return a hash of counts."""
        self._expire()
        return dict(self._hashes.get(key, {}))

    async def counts_of(self, keys: Sequence[str]) -> list[dict[str, int]]:
        """Return many hashes of counts."""
        return [await self.counts(key) for key in keys]

    async def newest(self, key: str, n: int) -> list[bytes]:
        """Return the newest values of a list."""
        self._expire()
        return sorted(self._lists.get(key, []), reverse=True)[:n]

    async def value(self, key: str) -> bytes | None:
        """Return a string."""
        self._expire()
        return self._strings.get(key)

    def _apply(self, write: Write) -> None:
        match write:
            case Incr(key, field, by, cap):
                counts = self._hashes[key]
                full = cap and field not in counts and len(counts) >= cap
                name = OTHER if full else field
                counts[name] = counts.get(name, 0) + by
            case Push(key, value, keep):
                self._lists[key] = [value, *self._lists[key]][:keep]
            case Put(key, value, ttl_s):
                self._strings[key] = value
                self._until_s[key] = self._now_s() + ttl_s
            case Expire(key, ttl_s):
                if key in self.names():
                    self._until_s[key] = self._now_s() + ttl_s
            case _:
                assert_never(write)

    def _expire(self) -> None:
        now_s = self._now_s()
        for key in [key for key, until_s in self._until_s.items() if until_s <= now_s]:
            del self._until_s[key]
            self._hashes.pop(key, None)
            self._lists.pop(key, None)
            self._strings.pop(key, None)
