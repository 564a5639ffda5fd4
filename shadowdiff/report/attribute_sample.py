"""Sample compared pairs with their attributes, to find what the pairs of a cause have in common.

For each target, run and period, the store keeps the pairs with the lowest ranks of each group: the pairs of one route
with one set of changes. A rank is a keyed hash of the pair's key, so the samples of processes and shards are one
uniform sample without coordination. Each process knows the lowest ranks that it offered itself. A pair with a higher
rank cannot be in the sample, and costs one hash. A new period starts after half of the samples' maximum age, so that
no entry becomes older than a sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import BOTTOM_SAMPLE_PARTS, GROUP_CHARS, RANK_CHARS, Comparison, Draw, Pair, Result
from shadowdiff.model.store_reader import Members, Whole
from shadowdiff.report.attributes import DEFAULT_HEADERS, Attribute, attributes_of
from shadowdiff.report.change import bounded_name, changes_of, ids_of
from shadowdiff.report.common_attributes import Entry, Group, SamplePart
from shadowdiff.report.redaction import Redactor
from shadowdiff.store import ValueCodec, reading

if TYPE_CHECKING:
    from shadowdiff.model import Write
    from shadowdiff.model.store_reader import StoreReader
    from shadowdiff.report.cause_writes import CountedRun

OF_GROUP: Final = 500
OF_ALL: Final = 5_000
MOST_GROUPS: Final = 1_000
_MARGIN: Final = 16
"""Further values of a group in each of several shards, because pairs are not spread exactly evenly."""
_MOST_TRACKED: Final = 100_000
"""Ranks that a process remembers. Above this, it starts again, and offers a few more pairs."""


class AttributeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of the samples of one target, run and period.

    of_group: pairs of each route and set of changes; of_all: all pairs; groups: sets of changes. shards: the store's
    shards, which share `of_group` and `of_all`. ttl_s: the age of the oldest entry. headers: lower-case names of
    request headers. most_differences: the differences that a comparison lists. close: compresses and encrypts a
    value for a name.
    """

    redactor: Redactor
    close: Callable[[bytes, bytes], bytes] = ValueCodec().encode
    of_group: int = OF_GROUP
    of_all: int = OF_ALL
    groups: int = MOST_GROUPS
    shards: int = 1
    ttl_s: int = 24 * 3600
    most_differences: int = 100
    headers: tuple[str, ...] = DEFAULT_HEADERS

    @property
    def of_group_in_shard(self) -> int:
        """The number of pairs of a group in each shard."""
        return self.of_group if self.shards == 1 else -(-self.of_group // self.shards) + _MARGIN


class _Ranks:
    """The lowest ranks of one group that this process has offered, as a heap of negative numbers."""

    __slots__ = ("about", "id", "ranks")

    def __init__(self, group: Group) -> None:
        self.about = msgspec.msgpack.encode(group)
        self.id = hashlib.blake2b(self.about, digest_size=GROUP_CHARS // 2).hexdigest()
        self.ranks: list[int] = []


class AttributeStage:
    """Returns the write that samples a compared pair; none for most pairs.

    run_of: the run in which a pair counts, or None.  is_on: whether a target counts changes.
    revision_header: the name of the header with a target's revision.
    """

    def __init__(
        self,
        settings: AttributeSettings,
        run_of: Callable[[Pair], CountedRun | None],
        is_on: Callable[[str], bool] = lambda _target: True,
        revision_header: Callable[[str], bytes] = lambda _target: b"",
    ) -> None:
        self._settings = settings
        self._run_of = run_of
        self._is_on = is_on
        self._revision_header = revision_header
        self._groups: dict[tuple[str, int, str, str], _Ranks] = {}
        self._tracked = 0
        self._period = 0

    def __call__(self, pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        """Return the write of one pair."""
        settings = self._settings
        if comparison.result is Result.INCOMPARABLE or not self._is_on(pair.target):
            return ()
        run = self._run_of(pair)
        if run is None or not settings.of_group:
            return ()
        changes = changes_of(pair, comparison, settings.most_differences)
        period = period_of(at_ms, settings.ttl_s)
        if period != self._period or self._tracked > _MOST_TRACKED:
            self._period, self._tracked = period, 0
            self._groups.clear()
        name = (pair.target, run.id, pair.route, changes.field if changes else "")
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Ranks(Group(bounded_name(pair.route), *ids_of(name[3])))
        rank = settings.redactor.digest(pair.key)
        if not self._admits(group.ranks, int.from_bytes(rank)):
            return ()
        return (self._write(pair, sample_key(pair.target, run.id, period), group, rank.hex()),)

    def _admits(self, ranks: list[int], rank: int) -> bool:
        """Return whether a rank is one of the lowest that this process has offered.

        They are one more than all shards keep of a group. So once a pair is rejected, a shard has a cut below its rank.
        """
        if len(ranks) <= self._settings.of_group_in_shard * self._settings.shards:
            heappush(ranks, -rank)
            self._tracked += 1
        elif -rank <= ranks[0]:
            return False
        else:
            heapreplace(ranks, -rank)
        return True

    def _write(self, pair: Pair, key: str, group: _Ranks, rank: str) -> Draw:
        settings = self._settings
        found = attributes_of(pair, settings.redactor, settings.headers, self._revision_header(pair.target))
        return Draw(
            key=key,
            group=group.id,
            about=group.about,
            rank=rank,
            value=settings.close(msgspec.msgpack.encode(found), _name(group.id + rank)),
            of_group=settings.of_group_in_shard,
            of_all=max(1, settings.of_all // settings.shards),
            groups=settings.groups,
            ttl_s=max(1, settings.ttl_s // 2),
        )


def period_of(at_ms: int, ttl_s: int) -> int:
    """Return the number of the period at a time."""
    return at_ms // max(1, ttl_s * 500)


def sample_key(target: str, run: int, period: int) -> str:
    """Return the key of the sample of one target, run and period."""
    return f"attributes:{run}:{period}:{target}"


def sample_keys(target: str, run: int, now_ms: int, ttl_s: int) -> list[str]:
    """Return the keys of all samples of one run that have not expired."""
    period = period_of(now_ms, ttl_s)
    return [sample_key(target, run, one) for one in (period, period - 1)]


async def read_sample(reader: StoreReader, target: str, run: int, now_ms: int, ttl_s: int) -> list[SamplePart]:
    """Return the sampled pairs of a run, in one part for each shard and period."""
    reads: list[Members | Whole] = []
    for key in sample_keys(target, run, now_ms, ttl_s):
        reads += [Members(f"{key}:members", OF_ALL), Whole(f"{key}:cuts"), Whole(f"{key}:groups")]
    parts: list[SamplePart] = []
    for found in await reader.read(reads):
        for at in range(0, len(found), len(BOTTOM_SAMPLE_PARTS) - 1):
            members, cuts, groups = found[at : at + 3]
            with reading(f"the sampled attributes of {target}"):
                part = SamplePart(
                    groups={name: msgspec.msgpack.decode(about, type=Group) for name, about in groups.items()},
                    cuts={name: cut.decode() for name, cut in cuts.items()},
                    entries=list(_entries(reader, members)),
                )
            parts.append(part)
    return parts


def _entries(reader: StoreReader, members: Sequence[bytes]) -> Iterable[Entry]:
    for member in members:
        group, rank = member[:GROUP_CHARS].decode(), member[GROUP_CHARS : GROUP_CHARS + RANK_CHARS].decode()
        if (attributes := decode_member(reader, member)) is not None:
            yield Entry(group, rank, attributes)


def decode_member(reader: StoreReader, member: bytes) -> tuple[Attribute, ...] | None:
    """Return the attributes in a stored member; None if the store's key cannot decrypt it."""
    head = member[: GROUP_CHARS + RANK_CHARS]
    payload = reader.decode_value(member[len(head) :], _name(head.decode()))
    return None if payload is None else msgspec.msgpack.decode(payload, type=tuple[Attribute, ...])


def _name(head: str) -> bytes:
    return b"attributes " + head.encode()
