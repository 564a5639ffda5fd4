"""Settle pairs whose settling time has ended, and observations whose partner never arrived.

Any number of processes may sweep the same store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from shadowdiff.pairing import names
from shadowdiff.pairing.codec import Codec, Dictionaries, UndecodableError
from shadowdiff.store import STORE_ERRORS, describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shadowdiff.model import Observation
    from shadowdiff.pairing.observation_writer import PairingSettings
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S = 0.1
SHARDS_PER_TURN = 4
"""With more shards than this, sweeps run less often, so the total cost stays the same."""
PROCESSES_PER_TURN = 20
"""With more processes, each process sweeps less often, up to this number. Each process must measure the store."""
MOST_DUE = 200
EXAMPLES = 50
"""Orphans per target and period that are kept as examples: enough to probably contain both halves of a request."""
READ = 1000
"""Orphans per target and period that are read to count them by route."""
PERIOD_S = 1.0
EXAMPLE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Orphan:
    """An observation whose window ended without a partner."""

    key: bytes
    observation: Observation


@dataclass(slots=True)
class _Quota:
    """How many more orphans of a target can be read in this period, and how many of them can become examples."""

    read: int = READ
    examples: int = EXAMPLES


@dataclass(slots=True)
class Sweeper:
    """Sweeps every shard for the given targets.

    on_orphans: receives examples for the doctor.  on_read: receives every orphan that is read, to count it by route.
    on_depth: receives the store's depth, to enforce its limit.  processes: returns how many processes sweep.
    """

    store: Store
    codec: Codec
    settings: PairingSettings
    targets: Callable[[], Sequence[str]]
    on_orphans: Callable[[Sequence[Orphan]], None]
    on_depth: Callable[[int], None]
    on_read: Callable[[Observation], None] = lambda _orphan: None
    processes: Callable[[], int] = lambda: 1
    _depths: dict[int, int] = field(default_factory=dict[int, int])
    _quotas: dict[str, _Quota] = field(default_factory=dict[str, _Quota])
    _quotas_since_s: float = 0.0

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            for shard in range(self.store.shards):
                try:
                    while await self.sweep(shard) >= MOST_DUE:
                        pass
                except STORE_ERRORS as error:
                    log.warning("store unavailable; will retry sweep", extra={"error": describe_error(error)})
                    break
            await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        """Return a random time until the next sweep, so that processes do not all sweep at the same time."""
        processes = min(max(1, self.processes()), PROCESSES_PER_TURN)
        jitter = random.uniform(0.5, 1.5) if processes > 1 else 1.0  # noqa: S311 - no secret
        return EVERY_S * max(1.0, self.store.shards / SHARDS_PER_TURN) * processes * jitter

    async def sweep(self, shard: int) -> int:
        """Settle up to MOST_DUE keys of each target in `shard`; return the largest number due for any target."""
        targets = self.targets()
        keys = [name for target in targets for name in (names.ready(target), *names.deadlines(target))]
        reply: Any = await self.store.run(names.DUE, shard, keys, [MOST_DUE])
        most = 0
        self._depths[shard] = sum(int(depth) for depth, *_ in reply)
        self.on_depth(sum(self._depths.values()))
        for target, (_, *sides) in zip(targets, reply, strict=True):
            # Interleave the sides, so that the observations of each request are next to each other in the examples.
            due = dict.fromkeys(key for row in zip_longest(*sides) for key in row if key is not None)
            if due:
                most = max(most, len(due))
                await self._settle(shard, target, due)
        return most

    async def _settle(self, shard: int, target: str, due: Iterable[bytes]) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._quotas_since_s >= PERIOD_S:
            self._quotas_since_s, self._quotas = now_s, {}
        quota = self._quotas.setdefault(target, _Quota())
        head = len(self.store.keys.name(shard, b""))
        keys = [*names.of_target(target), *(key[head:] for key in due)]
        args = [*self.settings.times_ms(), quota.read, EXAMPLE_BYTES]
        reply: Any = await self.store.run(names.SWEEP, shard, keys, args)
        await Dictionaries(self.store, self.codec).fetch(shard, (payload for _, payload in reply))
        orphans: list[Orphan] = []
        for key, payload in reply:
            try:
                orphans.append(Orphan(key, self.codec.decode(key, payload)))
            except UndecodableError as error:
                log.warning("orphan undecodable", extra={"target": target, "error": str(error)})
        for orphan in orphans:
            self.on_read(orphan.observation)
        examples = orphans[: quota.examples]
        quota.read -= len(reply)
        quota.examples -= len(examples)
        if examples:
            self.on_orphans(examples)
