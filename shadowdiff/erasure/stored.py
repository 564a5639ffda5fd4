"""Find and delete stored data that carries a value, one kind of data of one target at a time.

Each method returns how many items it found, and deletes them unless `dry_run` is set. Reads are batched, and decoding
runs in a thread, so neither Redis nor the event loop waits for a whole erasure. A value that the store's key cannot
decrypt is skipped: nobody can read it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from shadowdiff.doctor.evidence_collector import ERASURES, PROCESSES, TIME_DIGITS, TTL_S, orphans_key
from shadowdiff.doctor.pair_facts import KINDS, example_key, paired_key
from shadowdiff.model import GROUP_CHARS, NAME_CHARS, SAMPLE_SET_PARTS, Result, Side
from shadowdiff.model.store_reader import Members, Top
from shadowdiff.pairing import names
from shadowdiff.pairing.codec import Codec, Dictionaries, UndecodableError
from shadowdiff.report import Sample
from shadowdiff.report.attribute_sample import decode_member, sample_keys
from shadowdiff.report.cause_writes import PARAMETER_AT, history_key, table_key
from shadowdiff.report.fingerprint import Described, key_of
from shadowdiff.report.samples import sample_set_key
from shadowdiff.store import SAMPLE_SET_LUA, Script
from shadowdiff.verdict import read_run_starts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shadowdiff.erasure.matcher import Matcher
    from shadowdiff.store import Store

_LUA: Final = "shadowdiff.erasure.lua"
EDIT_LIST: Final = Script.from_package(_LUA, "edit_list.lua")
_DROP_SAMPLES: Final = Script.from_package(_LUA, "drop_samples.lua", before=SAMPLE_SET_LUA)
_DROP_MEMBERS: Final = Script.from_package(_LUA, "drop_members.lua", before=b"local GROUP = %d" % GROUP_CHARS)
_READ_VALUES: Final = Script.from_package(_LUA, "read_values.lua")
_ERASE_WAITING: Final = Script.from_package(_LUA, "erase_waiting.lua", before=names.STATE_LUA)
_MOST: Final = 1_000_000
_SAMPLES_AT_ONCE: Final = 20
_AT_ONCE: Final = 100
_CORRUPT: Final = (msgspec.DecodeError, RecursionError)
"""A value that does not decode is searched as it is, so that it does not stop an erasure."""
_HEAD, _META = 26, 49
"""Bytes of a frame's head, and of everything before its payload (`pairing/lua/state.lua`)."""
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class StoredData:
    """The store's data.  window_ms: how long a tombstone of an erased observation lives."""

    store: Store
    codec: Codec
    window_ms: int
    now_ms: Callable[[], int]
    samples_ttl_s: int

    async def samples(self, target: str, matcher: Matcher, *, dry_run: bool) -> int:
        """Erase samples of both results, and with them the examples of fingerprints."""
        count = 0
        for result in (Result.MISMATCH, Result.INCOMPARABLE):
            key = sample_set_key(target, result)
            for shard, (top,) in enumerate(await self.store.read([Top(f"{key}:times", _MOST)])):
                for some in _batches([member for member, _ in top], _SAMPLES_AT_ONCE):
                    found = await self._carrying_samples(shard, key, some, matcher)
                    count += len(found)
                    if found and not dry_run:
                        keys = [f"{key}:{part}" for part in SAMPLE_SET_PARTS]
                        await self.store.run(_DROP_SAMPLES, shard, keys, found)
        return count

    async def _carrying_samples(self, shard: int, key: str, members: Sequence[str], matcher: Matcher) -> list[str]:
        ids = [member[-NAME_CHARS:] for member in members]
        stored: list[bytes | None] = await self.store.command(
            "HMGET", self.store.keys.name(shard, f"{key}:values"), *ids
        )

        def carries(one: tuple[str, bytes | None]) -> bool:
            payload = self.store.decode_value(one[1], b"sample " + one[0][-NAME_CHARS:].encode()) if one[1] else None
            if payload is None:
                return False
            try:
                return matcher.is_in_sample(msgspec.msgpack.decode(payload, type=Sample))
            except _CORRUPT:
                return matcher.is_in(payload.decode("utf-8", "replace"))

        return [member for member, _ in await _chosen(list(zip(members, stored, strict=True)), carries)]

    async def _runs(self, target: str) -> list[int]:
        """Return the ids of a target's runs; a resumed run has several starts."""
        return list(dict.fromkeys(one.id for one in await read_run_starts(self.store, target)))

    async def attributes(self, target: str, matcher: Matcher, *, dry_run: bool) -> int:
        """Erase sampled pairs whose attributes carry the value."""
        runs = await self._runs(target)
        keys = [key for run in runs for key in sample_keys(target, run, self.now_ms(), self.samples_ttl_s)]
        count = 0
        for key in keys:
            for shard, (members,) in enumerate(await self.store.read([Members(f"{key}:members", _MOST)])):
                found = await _chosen(members, lambda member: self._has_attribute(member, matcher))
                count += len(found)
                for some in _batches(found if not dry_run else [], _AT_ONCE):
                    await self.store.run(_DROP_MEMBERS, shard, [f"{key}:members", f"{key}:sizes"], some)
        return count

    def _has_attribute(self, member: bytes, matcher: Matcher) -> bool:
        try:
            attributes = decode_member(self.store, member)
        except _CORRUPT:
            return matcher.is_in(member.decode("utf-8", "replace"))
        return attributes is not None and any(matcher.is_in(one.value) or matcher.is_in(one.name) for one in attributes)

    async def fingerprints(self, target: str, matcher: Matcher, *, dry_run: bool) -> int:
        """Erase fingerprints whose route or places carry the value, with their counts, state and note."""
        parts = ("last", "first", "count", "worst", "since")
        gone: set[str] = set()
        for shard, (top,) in enumerate(await self.store.read([Top(key_of("first", target), _MOST)])):
            for some in _batches([name for name, _ in top], _AT_ONCE):
                key = self.store.keys.name(shard, key_of("what", target))
                stored: list[bytes | None] = await self.store.command("HMGET", key, *some)
                described = [(name, value) for name, value in zip(some, stored, strict=True) if value is not None]
                gone.update(name for name, _ in await _chosen(described, lambda one: _describes(one[1], matcher)))
        for shard in range(self.store.shards) if gone and not dry_run else ():
            for part in parts:
                await self.store.command("ZREM", self.store.keys.name(shard, key_of(part, target)), *gone)
            for part in ("what", "states", "notes"):
                await self.store.command("HDEL", self.store.keys.name(shard, key_of(part, target)), *gone)
        return len(gone)

    async def notes(self, target: str, matcher: Matcher, *, dry_run: bool) -> int:
        """Erase notes of fingerprints and causes."""
        count = 0
        for key in (key_of("notes", target), history_key(target, "notes")):
            name = self.store.keys.name(0, key)
            stored: dict[bytes, bytes] = await self.store.command("HGETALL", name)
            found = [one for one, value in stored.items() if matcher.is_in_json(value)]
            count += len(found)
            if found and not dry_run:
                await self.store.command("HDEL", name, *found)
        return count

    async def parameters(self, target: str, matcher: Matcher, *, dry_run: bool) -> int:
        """Erase counts of parameters that carry the value, in the tables of all runs."""
        count = 0
        for run in await self._runs(target):
            for shard in range(self.store.shards):
                key = self.store.keys.name(shard, table_key(target, run, "params"))
                fields: list[bytes] = await self.store.command("HKEYS", key)

                def carries(field: bytes) -> bool:
                    return matcher.is_in(field[PARAMETER_AT:].decode("utf-8", "replace"))

                found = await _chosen(fields, carries)
                count += len(found)
                for some in _batches(found, _AT_ONCE) if not dry_run else ():
                    await self.store.command("HDEL", key, *some)
        return count

    async def doctor_examples(self, target: str, matcher: Matcher, *, dry_run: bool) -> int:
        """Erase the doctor's examples of orphans and of pairs."""

        async def erase(shard: int, key: str) -> int:
            stored: list[bytes] = await self.store.command("LRANGE", self.store.keys.name(shard, key), 0, -1)
            found = [value for value in stored if matcher.is_in_json(value[TIME_DIGITS:])]
            if found and not dry_run:
                await self.store.run(EDIT_LIST, shard, [key], [TTL_S, *(word for one in found for word in (one, b""))])
            return len(found)

        count = sum([await erase(0, orphans_key(target, side)) for side in Side])
        for shard in range(self.store.shards):
            count += await erase(shard, paired_key(target))
            for kind in KINDS:
                name = self.store.keys.name(shard, example_key(target, kind))
                value: bytes | None = await self.store.command("GET", name)
                if value is not None and matcher.is_in_json(value):
                    count += 1
                    if not dry_run:
                        await self.store.command("DEL", name)
        return count

    async def process_examples(self) -> None:
        """Erase every example of rejected requests; every process also forgets those in its memory within seconds.

        Processes write these examples from memory, and a process cannot be asked about the value of an erasure.
        """
        await self.store.command("DEL", self.store.keys.name(0, PROCESSES))
        await self.store.command("INCRBY", self.store.keys.name(0, ERASURES), 1)

    async def waiting(self, target: str, matcher: Matcher, *, dry_run: bool) -> int:
        """Erase waiting observations: they become orphans in the ledger, and a late partner finds a tombstone."""
        count = 0
        for shard in range(self.store.shards):
            head = len(self.store.keys.name(shard, b""))
            keys: dict[bytes, None] = {}
            for deadlines in names.deadlines(target):
                members: list[bytes] = await self.store.command("ZRANGE", self.store.keys.name(shard, deadlines), 0, -1)
                keys |= dict.fromkeys(member[head:] for member in members)
            for some in _batches(list(keys), _AT_ONCE):
                values: list[bytes] = await self.store.run(_READ_VALUES, shard, some, [])
                frames = {key: [*_payloads(value)] for key, value in zip(some, values, strict=True)}
                payloads = (payload for those in frames.values() for payload in those)
                await Dictionaries(self.store, self.codec).fetch(shard, payloads)
                found = await _chosen(list(frames.items()), lambda one: self._carries(*one, matcher))
                if found and dry_run:
                    count += sum(len(those) for _, those in found)
                elif found:
                    erased = [*names.of_target(target), *(key for key, _ in found)]
                    count += int(await self.store.run(_ERASE_WAITING, shard, erased, [self.window_ms]))
        return count

    def _carries(self, key: bytes, payloads: Sequence[bytes], matcher: Matcher) -> bool:
        for payload in payloads:
            try:
                observation = self.codec.decode(key[-16:], payload)
            except UndecodableError:
                continue
            if matcher.is_in_observation(observation):
                return True
        return False

    async def pending(self, target: str) -> int:
        """Return the number of pairs that are not compared yet; they may still become samples."""
        lengths = [
            await self.store.command("XLEN", self.store.keys.name(shard, names.ready(target)))
            for shard in range(self.store.shards)
        ]
        return sum(map(int, lengths))


def _describes(value: bytes, matcher: Matcher) -> bool:
    try:
        return matcher.is_in_value(msgspec.msgpack.decode(value, type=Described))
    except _CORRUPT:
        return matcher.is_in(value.decode("utf-8", "replace"))


def _payloads(value: bytes) -> Iterator[bytes]:
    """Yield the payload of each waiting side in the state of a key."""
    at = 1
    while value[:1] == b"W" and at < len(value):
        digits = value[at + _HEAD + 13 : at + _META]
        if not digits.isdigit():  # corrupt, so nothing can read it
            return
        size = int(digits)
        yield value[at + _META : at + _META + size]
        at += _META + size


def _batches(items: Sequence[_Item], most: int) -> Iterator[Sequence[_Item]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]


async def _chosen(items: Sequence[_Item], carries: Callable[[_Item], bool]) -> list[_Item]:
    """Return the items that carry the value; decode them in a thread."""
    return await asyncio.to_thread(lambda: [one for one in items if carries(one)])
