"""Settle what is due: pairs whose settling ended, and observations whose partner never came.

Any number of services may sweep one store. Examples of orphans go to `on_orphans`, for `doctor`; as many as are read
go to `on_read`, for the count of their route; how much lies in the store goes to `on_depth`, for the bound on it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from shadowdiff.pairing import names
from shadowdiff.pairing.codec import Codec, UndecodableError
from shadowdiff.pairing.dictionaries import Dictionaries
from shadowdiff.store import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shadowdiff.model import Observation
    from shadowdiff.pairing.park import ParkSettings
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S = 0.1
SHARDS_A_TURN = 4
"""With more shards the turns come less often, so that looking costs no more."""
PROCESSES_A_TURN = 20
"""With so many processes at work each looks the less often, so that all of them together look no more; with yet more
they do, since each must know how much lies in the store."""
MOST_DUE = 200
EXAMPLES = 50
"""Of each target and stretch; many at once, so that both halves of a request are likely to be among them."""
READ = 1000
"""Orphans of each target and stretch that are read, so that they count for their route."""
EXAMPLES_EVERY_S = 1.0
EXAMPLE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Orphan:
    """An observation whose window ended with no partner."""

    key: bytes
    observation: Observation


@dataclass(slots=True)
class _Wanted:
    """How many orphans of a target are still read in this stretch, and how many of them go on as examples."""

    since_s: float
    read: int = READ
    examples: int = EXAMPLES


class Sweeper:
    """The sweep of every shard, for the targets named."""

    def __init__(
        self,
        store: Store,
        codec: Codec,
        settings: ParkSettings,
        *,
        targets: Callable[[], Sequence[str]],
        on_orphans: Callable[[Sequence[Orphan]], None],
        on_depth: Callable[[int], None],
        on_read: Callable[[Observation], None] = lambda _orphan: None,
        processes: Callable[[], int] = lambda: 1,
    ) -> None:
        """Take what is swept; `processes` says how many sweep."""
        self._store = store
        self._codec = codec
        self._dictionaries = Dictionaries(store, codec)
        self._settings = settings
        self._targets = targets
        self._on_orphans = on_orphans
        self._on_depth = on_depth
        self._on_read = on_read
        self._processes = processes
        self._depths = [0] * store.shards
        self._wanted: dict[str, _Wanted] = {}

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            for shard in range(self._store.shards):
                try:
                    await self._sweep_dry(shard)
                except (RedisError, OSError, TimeoutError) as error:
                    log.warning("the sweep waits for the store", extra={"error": said(error)})
                    break
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        """Return how long until the next turn; drawn, so that processes do not come all at once."""
        others = min(max(1, self._processes()), PROCESSES_A_TURN)
        apart = random.uniform(0.5, 1.5) if others > 1 else 1.0  # noqa: S311 - no secret
        return EVERY_S * max(1.0, self._store.shards / SHARDS_A_TURN) * others * apart

    async def _sweep_dry(self, shard: int) -> None:
        while True:
            if await self.sweep(shard) < MOST_DUE:
                return

    async def sweep(self, shard: int) -> int:
        """Settle up to MOST_DUE keys of each target in `shard`; return the most found for any one."""
        targets = self._targets()
        watched = [name for target in targets for name in (names.ready(target), *names.deadlines(target))]
        due: Any = await self._store.run(names.DUE, shard, watched, [MOST_DUE])
        most = 0
        self._depths[shard] = sum(int(depth) for depth, *_ in due)
        self._on_depth(sum(self._depths))
        for target, (_, *sides) in zip(targets, due, strict=True):
            # Of each side the first due first: so the halves of one request stand together among the examples.
            keys = dict.fromkeys(key for ones in zip_longest(*sides) for key in ones if key is not None)
            if keys:
                most = max(most, len(keys))
                await self._settle(shard, target, keys)
        return most

    async def _settle(self, shard: int, target: str, keys: Iterable[bytes]) -> None:
        wanted = self._wanted_of(target)
        head = len(self._store.keys.name(shard, b""))
        answer: Any = await self._store.run(
            names.SWEEP,
            shard,
            [*names.of_target(target), *(key[head:] for key in keys)],
            [
                *self._settings.times_ms(),
                wanted.read,
                EXAMPLE_BYTES,
            ],
        )
        await self._dictionaries.fetch(shard, (payload for *_, payload in answer))
        orphans: list[Orphan] = []
        for key, _side, payload in answer:
            try:
                orphans.append(Orphan(key, self._codec.decode(key, payload)))
            except UndecodableError as error:
                log.warning("an orphan cannot be read", extra={"target": target, "error": str(error)})
        for orphan in orphans:
            self._on_read(orphan.observation)
        examples = orphans[: wanted.examples]
        wanted.read -= len(answer)
        wanted.examples -= len(examples)
        if examples:
            self._on_orphans(examples)

    def _wanted_of(self, target: str) -> _Wanted:
        """Return what a target may still give in this stretch of time."""
        now_s = asyncio.get_running_loop().time()
        wanted = self._wanted.get(target)
        if wanted is None or now_s - wanted.since_s >= EXAMPLES_EVERY_S:
            wanted = self._wanted[target] = _Wanted(now_s)
        return wanted
