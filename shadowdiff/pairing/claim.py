"""Take ready pairs from the store: new ones, and those that a dead worker left.

In: one shard's ready streams. Out: claims, each delivered to one worker at a time. A claim that is never
committed comes back after `idle_s`; `deliveries` says how often it was handed out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shadowdiff.pairing import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.pairing.dictionaries import Dictionaries
    from shadowdiff.store import Store


_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Claim:
    """One ready pair as it lies in the stream; sides still encoded.

    delay_s: between the arrival of the two halves.
    """

    shard: int
    target: str
    entry: bytes
    key: bytes
    primary: bytes
    candidate: bytes
    control: bytes | None
    delay_s: float
    deliveries: int = 1


def _claim(shard: int, target: str, entry: bytes, flat: Sequence[bytes], deliveries: int) -> Claim:
    """Return a claim as its entry has it; what is missing or odd there makes a pair that cannot be read."""
    fields = dict(zip(flat[::2], flat[1::2], strict=False))
    delay_ms = fields.get(b"d", b"0")
    return Claim(
        shard,
        target,
        entry,
        fields.get(b"k", b""),
        fields.get(b"p", b""),
        fields.get(b"c", b""),
        fields.get(b"x"),
        int(delay_ms) / 1000 if delay_ms.isdigit() and len(delay_ms) <= _DIGITS else 0.0,
        deliveries,
    )


class Claimer:
    """One worker's reader of one shard; what it returns can be decoded."""

    def __init__(
        self, store: Store, shard: int, consumer: str, targets: Sequence[str], dictionaries: Dictionaries
    ) -> None:
        self._store = store
        self._dictionaries = dictionaries
        self._shard = shard
        self._consumer = consumer
        self.serve(targets)

    def serve(self, targets: Sequence[str]) -> None:
        """Read these targets from now on; `open` makes their groups."""
        self._targets = {self._store.keys.name(self._shard, names.ready(target)): target for target in targets}

    async def open(self) -> None:
        """Make the consumer groups; those that stand are kept. Raises redis.exceptions.RedisError."""
        for target in self._targets.values():
            await self._store.run(names.GROUPS, self._shard, [names.ready(target)], [names.GROUP])

    async def read(self, most: int, block_ms: int) -> list[Claim]:
        """Return up to `most` new pairs of each target, waiting up to `block_ms` for the first."""
        streams = list(self._targets)
        if not streams:
            await asyncio.sleep(block_ms / 1000)
            return []
        answer: Any = await self._store.command(
            "XREADGROUP", "GROUP", names.GROUP, self._consumer, "COUNT", most, "BLOCK", block_ms,
            "STREAMS", *streams, *([">"] * len(streams)),
        )  # fmt: skip
        if not answer:
            return []
        found: Iterable[tuple[bytes, Any]] = answer.items() if hasattr(answer, "items") else answer
        return await self._readable(
            [
                _claim(self._shard, self._targets[stream], entry, flat, 1)
                for stream, entries in found
                for entry, flat in _flatten(entries)
            ]
        )

    async def reclaim(self, most: int, idle_s: float) -> list[Claim]:
        """Return pairs that another worker was given `idle_s` ago and never committed."""
        claims: list[Claim] = []
        for target in self._targets.values():
            answer: Any = await self._store.run(
                names.RECLAIM,
                self._shard,
                [names.ready(target)],
                [names.GROUP, self._consumer, int(idle_s * 1000), most],
            )
            claims.extend(
                _claim(self._shard, target, entry, flat, int(deliveries)) for entry, deliveries, flat in answer
            )
        return await self._readable(claims)

    async def _readable(self, claims: list[Claim]) -> list[Claim]:
        """Return claims, once the dictionaries are known by which other processes encoded them."""
        stored = (one for claim in claims for one in (claim.primary, claim.candidate, claim.control))
        await self._dictionaries.fetch(self._shard, stored)
        return claims

    async def keep(self, claims: Sequence[Claim]) -> None:
        """Say that these are still at work, so that nobody claims them as a dead worker's."""
        for target in {claim.target for claim in claims}:
            entries = [claim.entry for claim in claims if claim.target == target]
            await self._store.run(
                names.KEEP, self._shard, [names.ready(target)], [names.GROUP, self._consumer, *entries]
            )

    async def leave(self) -> None:
        """Remove this consumer where it holds nothing; what it holds stays for others to claim."""
        streams = [names.ready(target) for target in self._targets.values()]
        if streams:
            await self._store.run(names.LEAVE, self._shard, streams, [names.GROUP, self._consumer])


def _flatten(entries: Any) -> list[tuple[bytes, list[bytes]]]:
    """Return (entry id, fields) whichever way redis-py parsed them.

    It parses XREADGROUP into [(id, {field: value})], or [[(id, {…})]] under a dict for RESP3.
    """
    if entries and isinstance(entries[0], list):
        entries = entries[0]
    return [(entry, [part for pair in fields.items() for part in pair]) for entry, fields in entries if fields]
