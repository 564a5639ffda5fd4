"""Take each ready pair out of the store exactly once: claim it, then commit it with its result.

A pair is delivered to only one worker at a time. If the worker does not commit its claim, other workers can claim the
pair after `idle_s`. A commit applies the writes of a pair only if the same call acknowledged the pair. Equal writes in
a batch are sent once, with their count.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.model import (
    BOTTOM_SAMPLE_PARTS,
    OUTSIDE_COVERAGE,
    SAMPLE_SET_PARTS,
    Describe,
    Draw,
    Expire,
    Incr,
    Keep,
    Push,
    Put,
    Result,
    Score,
    Write,
)
from shadowdiff.pairing import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from shadowdiff.model import Comparison
    from shadowdiff.pairing.codec import Dictionaries
    from shadowdiff.store import Store

_DELAY_DIGITS = 12
_IDS_PER_CALL = 1000
_OPERATIONS: Final = {Incr: b"i", Push: b"l", Put: b"s", Expire: b"e", Describe: b"d"}
_SCORED: Final = {"greatest": b"m", "first": b"n", "add": b"a"}

EntryRef = tuple[str, bytes]
"""A ready pair in the store: its target, and its id in the target's stream."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One ready pair from the stream, with encoded sides.

    delay_s: the time between the arrivals of primary and candidate.  deliveries: how often the pair was claimed.
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

    @property
    def ref(self) -> EntryRef:
        """The reference of the pair in the store."""
        return self.target, self.entry

    @property
    def stored_bytes(self) -> int:
        """The stored size of both sides."""
        return len(self.primary) + len(self.candidate) + len(self.control or b"")


def _claim(shard: int, target: str, entry: bytes, found: Any, deliveries: int) -> Claim:
    """Return the claim of an entry. If a field is missing or invalid, the pair cannot be decoded.

    found: the fields, as a dict from redis-py or a flat list from a script.
    """
    fields: dict[bytes, bytes] = found if hasattr(found, "items") else dict(zip(found[::2], found[1::2], strict=False))
    delay_ms = fields.get(b"d", b"0")
    return Claim(
        shard,
        target,
        entry,
        key=fields.get(b"k", b""),
        primary=fields.get(b"p", b""),
        candidate=fields.get(b"c", b""),
        control=fields.get(b"x"),
        delay_s=int(delay_ms) / 1000 if delay_ms.isdigit() and len(delay_ms) <= _DELAY_DIGITS else 0.0,
        deliveries=deliveries,
    )


class Claimer:
    """Claims pairs of one shard for one worker, and fetches the dictionaries that the claims need."""

    def __init__(
        self, store: Store, shard: int, consumer: str, targets: Sequence[str], dictionaries: Dictionaries
    ) -> None:
        self._store = store
        self._dictionaries = dictionaries
        self._shard = shard
        self._consumer = consumer
        self.serve(targets)

    def serve(self, targets: Sequence[str]) -> None:
        """Claim pairs of these targets from now on; `open` creates their consumer groups."""
        self._targets = {self._store.keys.name(self._shard, names.ready(target)): target for target in targets}

    async def open(self) -> None:
        """Create the missing consumer groups. Raises: redis.exceptions.RedisError."""
        for target in self._targets.values():
            await self._store.run(names.CREATE_GROUP, self._shard, [names.ready(target)], [names.GROUP])

    async def read(self, most: int, block_ms: int) -> list[Claim]:
        """Return up to `most` new pairs of each target; wait up to `block_ms` for the first pair."""
        streams = list(self._targets)
        if not streams:
            await asyncio.sleep(block_ms / 1000)
            return []
        reply: Any = await self._store.command(
            "XREADGROUP", "GROUP", names.GROUP, self._consumer, "COUNT", most, "BLOCK", block_ms,
            "STREAMS", *streams, *([">"] * len(streams)),
        )  # fmt: skip
        if not reply:
            return []
        # With RESP3, redis-py returns a dict, with the entries of each stream inside another list.
        found: Iterable[tuple[bytes, Any]] = reply.items() if hasattr(reply, "items") else reply
        claims = [
            _claim(self._shard, self._targets[stream], entry, fields, 1)
            for stream, entries in found
            for entry, fields in (entries[0] if entries and isinstance(entries[0], list) else entries)
            if fields
        ]
        return await self._with_dictionaries(claims)

    async def reclaim(self, most: int, idle_s: float) -> list[Claim]:
        """Return pairs that another worker claimed at least `idle_s` ago and did not commit."""
        claims: list[Claim] = []
        for target in self._targets.values():
            args = [names.GROUP, self._consumer, int(idle_s * 1000), most]
            reply: Any = await self._store.run(names.RECLAIM, self._shard, [names.ready(target)], args)
            claims += [_claim(self._shard, target, entry, flat, int(deliveries)) for entry, deliveries, flat in reply]
        return await self._with_dictionaries(claims)

    async def _with_dictionaries(self, claims: list[Claim]) -> list[Claim]:
        """Fetch the compression dictionaries that are needed to decode the claims, and return the claims."""
        values = (value for claim in claims for value in (claim.primary, claim.candidate, claim.control))
        await self._dictionaries.fetch(self._shard, values)
        return claims

    async def keep(self, refs: Sequence[EntryRef]) -> None:
        """Renew these claims, so that no other worker reclaims them."""
        for target, ids in _by_target(refs):
            args = [names.GROUP, self._consumer, *ids]
            await self._store.run(names.KEEP_CLAIMS, self._shard, [names.ready(target)], args)

    async def defer(self, deliveries: Mapping[EntryRef, int], idle_s: float = 0.0) -> None:
        """Keep claims for `read_deferred`. Their last delivery does not count, because no comparison started.

        deliveries: how often each claim was delivered.  idle_s: the idle time that other workers see.
        """
        for count in sorted(set(deliveries.values())):
            refs = [ref for ref, delivered in deliveries.items() if delivered == count]
            for target, ids in _by_target(refs):
                args = [names.GROUP, self._consumer, int(idle_s * 1000), count - 1, *ids]
                await self._store.run(names.DEFER, self._shard, [names.ready(target)], args)

    async def read_deferred(self, deliveries: Mapping[EntryRef, int]) -> list[Claim]:
        """Return the deferred claims, except claims that another worker has committed."""
        claims: list[Claim] = []
        for target, ids in _by_target(tuple(deliveries)):
            args = [names.GROUP, self._consumer, *ids]
            reply: Any = await self._store.run(names.READ_DEFERRED, self._shard, [names.ready(target)], args)
            claims += [_claim(self._shard, target, entry, flat, deliveries[target, entry]) for entry, flat in reply]
        return await self._with_dictionaries(claims)

    async def leave(self) -> None:
        """Remove this consumer if it has no claims; otherwise other workers can reclaim them."""
        streams = [names.ready(target) for target in self._targets.values()]
        if streams:
            await self._store.run(names.LEAVE, self._shard, streams, [names.GROUP, self._consumer])


def _by_target(refs: Sequence[EntryRef]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the ids of each target, in batches that fit one script call."""
    by_target: dict[str, list[bytes]] = {}
    for target, entry in refs:
        by_target.setdefault(target, []).append(entry)
    for target, ids in by_target.items():
        for first in range(0, len(ids), _IDS_PER_CALL):
            yield target, ids[first : first + _IDS_PER_CALL]


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim, and all writes for the result of its pair."""

    claim: Claim
    writes: tuple[Write, ...]


def ledger_write(target: str, result: Result) -> Incr:
    """Return the write that counts one pair's result in the ledger."""
    return Incr(names.ledger(target), f"pairs.{result}")


def ledger_writes(target: str, comparison: Comparison) -> Iterator[Incr]:
    """Yield the writes that count one pair in the ledger, and whether it is outside the coverage."""
    yield ledger_write(target, comparison.result)
    if comparison.reason in OUTSIDE_COVERAGE:
        yield Incr(names.ledger(target), "coverage.outside")


def _operands(write: Write, index_of: Callable[[str], int]) -> tuple[bytes | str | int, ...]:
    """Return a write's operation, key and operands in the form that commit.lua reads."""
    match write:
        case Keep():
            keys = (index_of(f"{write.key}:{part}") for part in SAMPLE_SET_PARTS)
            bounds = (write.of_group, write.of_all, write.bytes_of_all, write.ttl_s)
            return b"k", *keys, write.member, write.line, write.value, write.at_ms, *bounds
        case Draw():
            keys = (index_of(f"{write.key}:{part}") for part in BOTTOM_SAMPLE_PARTS)
            bounds = (write.of_group, write.of_all, write.groups, write.ttl_s)
            return b"b", *keys, write.group, write.about, write.rank, write.value, *bounds
        case Score(key, member, score, how, cap):
            return _SCORED[how], index_of(key), member, score, cap
        case _:
            key, *operands = msgspec.structs.astuple(write)
            return _OPERATIONS[type(write)], index_of(key), *operands


async def commit(store: Store, shard: int, batch: Sequence[Judged]) -> list[bool]:
    """Commit `batch`, whose entries are all in one shard; return for each entry whether this call acknowledged it.

    Raises: redis.exceptions.RedisError. Calling this again is safe: entries that are already acknowledged return False.
    """
    keys: dict[str, int] = {}
    writes: dict[Write, int] = {}
    write_args: list[bytes | str | int] = []
    entry_args: list[bytes | str | int] = []

    def index_of(key: str) -> int:
        return keys.setdefault(key, len(keys) + 1)

    for judged in batch:
        indexes: list[str] = []
        for write in judged.writes:
            index = writes.get(write)
            if index is None:
                index = writes[write] = len(writes) + 1
                write_args += _operands(write, index_of)
            indexes.append(str(index))
        entry_args += (index_of(names.ready(judged.claim.target)), judged.claim.entry, " ".join(indexes))
    args = [names.GROUP, len(writes), len(batch), *entry_args, *write_args]
    acknowledged: Any = await store.run(names.COMMIT, shard, list(keys), args)
    return [one == 1 for one in acknowledged]
