"""An in-memory store that applies writes as the commit script does, and returns the stored data.

The store applies the stages' `model.Write` values, with the same caps, list limits and TTLs as the real store.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, assert_never

from shadowdiff.model import (
    BOTTOM_SAMPLE_PARTS,
    GROUP_CHARS,
    NAME_CHARS,
    OTHER,
    RANK_CHARS,
    SAMPLE_SET_PARTS,
    Describe,
    Draw,
    Expire,
    Incr,
    Keep,
    Push,
    Put,
    Score,
    Write,
)  # fmt: skip
from shadowdiff.model.store_reader import Between, Card, Fields, Members, Read, Scores, Top, Whole
from shadowdiff.store import ValueCodec, ValueCodecError
from tests.fakes.later import done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shadowdiff.model import Later


class MemoryStore:
    """One in-memory shard; `now_s` is the clock for TTLs."""

    def __init__(self, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self._now_s = now_s
        self._value_codec = ValueCodec()
        self._hashes: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._lists: defaultdict[str, list[bytes]] = defaultdict(list)
        self._strings: dict[str, bytes] = {}
        self._scores: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._fields: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._members: defaultdict[str, set[bytes]] = defaultdict(set)
        self._until_s: dict[str, float] = {}

    def commit(self, writes: Iterable[Write | Later]) -> None:
        """Apply the writes of one pair."""
        for write in done(writes):
            self._apply(write)

    def names(self) -> set[str]:
        """Return every key that currently has a value."""
        self._expire()
        return {*self._hashes, *self._lists, *self._strings, *self._scores, *self._fields, *self._members}

    def texts(self) -> list[bytes]:
        """Return every stored byte string. Tests check that none contains a secret."""
        named = [*self._hashes, *self._lists, *self._strings, *self._scores, *self._fields, *self._members]
        members = [name for held in (*self._hashes.values(), *self._scores.values()) for name in held]
        fields = [part for held in self._fields.values() for name, value in held.items() for part in (name, value)]
        listed = [value for values in self._lists.values() for value in values]
        drawn = [member for members in self._members.values() for member in members]
        texts = [*named, *members, *fields, *listed, *drawn, *self._strings.values()]
        return [text.encode() if isinstance(text, str) else text for text in texts]

    def scores(self, key: str) -> dict[str, float]:
        """Return the scores in a sorted set."""
        return dict(self._scores.get(key, {}))

    def fields(self, key: str) -> dict[str, bytes]:
        """Return the values in a hash."""
        return dict(self._fields.get(key, {}))

    def put_fields(self, key: str, values: dict[str, bytes]) -> None:
        """Set the values of a hash, such as the triage that users wrote."""
        self._fields[key] = values

    async def counts(self, key: str) -> dict[str, int]:
        """Return the counts in a Redis hash."""
        self._expire()
        return dict(self._hashes.get(key, {}))

    async def counts_of(self, keys: Sequence[str]) -> list[dict[str, int]]:
        """Return the counts in several Redis hashes."""
        return [await self.counts(key) for key in keys]

    async def newest(self, key: str, n: int) -> list[bytes]:
        """Return the newest values of a Redis list."""
        self._expire()
        return sorted(self._lists.get(key, []), reverse=True)[:n]

    async def value(self, key: str) -> bytes | None:
        """Return a string value."""
        self._expire()
        return self._strings.get(key)

    async def read(self, reads: Sequence[Read]) -> list[list[Any]]:
        """Return the single shard's replies."""
        self._expire()
        return [[self._answer(read) for read in reads]]

    def decode_value(self, stored: bytes, name: bytes) -> bytes | None:
        """Return the content of a value that was encoded without an encryption key."""
        try:
            return self._value_codec.decode(stored, name)
        except ValueCodecError:
            return None

    def _answer(self, read: Read) -> Any:  # noqa: PLR0911 - one per read
        match read:
            case Top(key, n, least, most):
                low, high = -float("inf") if least is None else least, float("inf") if most is None else most
                held = ((score, name) for name, score in self._scores.get(key, {}).items() if low <= score <= high)
                return [(name, score) for score, name in sorted(held, reverse=True)[:n]]
            case Scores(key, members):
                return [self._scores.get(key, {}).get(name) for name in members]
            case Card(key):
                return len(self._scores.get(key, {}))
            case Fields(key, names):
                counts = {name: b"%d" % count for name, count in self._hashes.get(key, {}).items()}
                return [(self._fields.get(key, {}) | counts).get(name) for name in names]
            case Whole(key):
                return dict(self._fields.get(key, {}))
            case Between(key, prefix, n):
                return sorted(member for member in self._scores.get(key, {}) if member.startswith(prefix))[:n]
            case Members(key, n):
                return sorted(self._members.get(key, ()))[:n]
            case _:
                assert_never(read)

    def _score(self, write: Score) -> None:
        held, member, score = self._scores[write.key], write.member, write.score
        fits = not write.cap or member in held or len(held) < write.cap
        match write.how:
            case "add":
                name = member if fits else OTHER
                held[name] = held.get(name, 0) + score
            case "first":
                if fits:
                    held.setdefault(member, score)
            case "greatest":
                if fits:
                    held[member] = max(score, held.get(member, score))
            case _:
                assert_never(write.how)

    def _keep(self, write: Keep) -> None:
        """Store a sample as the commit script does."""
        order, times = self._scores[f"{write.key}:order"], self._scores[f"{write.key}:times"]
        lines, values = self._fields[f"{write.key}:lines"], self._fields[f"{write.key}:values"]

        def drop(member: str) -> None:
            for held in (order, times, lines):
                held.pop(member, None)
            values.pop(member[-NAME_CHARS:], None)

        for member in [member for member, at_ms in times.items() if at_ms < write.at_ms - write.ttl_s * 1000]:
            drop(member)
        order[write.member], times[write.member] = 0, write.at_ms
        lines[write.member], values[write.name] = write.line, write.value

        def of_group(group: str) -> list[str]:
            return sorted(member for member in order if member.startswith(group))

        if len(of_group(write.group)) > write.of_group:
            drop(of_group(write.group)[-1])
        while len(order) > write.of_all or sum(map(len, values.values())) > write.bytes_of_all:
            sizes = Counter(member[:GROUP_CHARS] for member in order)
            most, group = max((size, group) for group, size in sizes.items())
            drop(of_group(group)[-1] if most > 1 else min(times, key=lambda member: (times[member], member)))
        for part in SAMPLE_SET_PARTS:
            self._until_s[f"{write.key}:{part}"] = self._now_s() + write.ttl_s

    def _draw(self, write: Draw) -> None:
        """Add to a bottom sample as the commit script does."""
        members, cuts = self._members[f"{write.key}:members"], self._fields[f"{write.key}:cuts"]
        groups, head = self._fields[f"{write.key}:groups"], write.group.encode()
        if write.rank.encode() >= cuts.get(write.group, b"~"):
            return
        if write.group not in groups and len(groups) >= write.groups:
            return
        groups[write.group] = write.about
        members.add(head + write.rank.encode() + write.value)
        sizes = Counter(member[:GROUP_CHARS] for member in members)
        full = head if sizes[head] > write.of_group else max(sizes, key=lambda one: (sizes[one], one))
        if sizes[head] > write.of_group or len(members) > write.of_all:
            last = max(member for member in members if member.startswith(full))
            members.discard(last)
            cuts[full.decode()] = last[GROUP_CHARS : GROUP_CHARS + RANK_CHARS]
        for part in BOTTOM_SAMPLE_PARTS:
            self._until_s[f"{write.key}:{part}"] = self._now_s() + write.ttl_s

    def _apply(self, write: Write) -> None:  # noqa: C901 - one branch for each write
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
            case Score():
                self._score(write)
            case Keep():
                self._keep(write)
            case Draw():
                self._draw(write)
            case Describe(key, field, value, cap):
                if not cap or len(self._fields[key]) < cap:
                    self._fields[key].setdefault(field, value)
            case _:
                assert_never(write)

    def _expire(self) -> None:
        now_s = self._now_s()
        for key in [key for key, until_s in self._until_s.items() if until_s <= now_s]:
            del self._until_s[key]
            self._hashes.pop(key, None)
            self._lists.pop(key, None)
            self._strings.pop(key, None)
            self._scores.pop(key, None)
            self._fields.pop(key, None)
            self._members.pop(key, None)
