"""Read samples back: the newest, those of one fingerprint, or one whole.

In: a reader and what is asked for.  Out: summaries, newest first; a sample.
Holds: what is looked for is walked from the newest on, a few hundred lines at a time, until there is enough; lines of
fingerprints that are ruled out are not read at all. What cannot be opened, or is too old, is passed over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Result
from shadowdiff.model.reader import Between, Fields, Top
from shadowdiff.model.write import GROUP_CHARS, NAME_CHARS
from shadowdiff.report.ranking import bound
from shadowdiff.report.samples import Sample, Summary, shelf_of
from shadowdiff.store import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from shadowdiff.model.reader import StoreReader

    Predicate = Callable[[Summary], bool]

_ALL: Final = 1_000_000
_FIRST_STEP: Final = 500
_AT_ONCE: Final = 500
_IN_THE_LOOP: Final = 100
"""Up to so many lines are read in the event loop's own time; more would make mirrored requests wait."""
_FEW_WHOLE: Final = 4
_MORE: Final = 16
_NONE: Final = frozenset[str]()


async def newest_samples(
    reader: StoreReader,
    target: str,
    limit: int,
    *,
    result: Result = Result.MISMATCH,
    wanted: Predicate | None = None,
    since_ms: int = 0,
    fingerprint: str | None = None,
    ruled_out: Container[str] = _NONE,
) -> list[Summary]:
    """Return the newest samples' summaries, at most `limit`, none older than `since_ms`; or one fingerprint's.

    wanted: chooses by what a line says.  ruled_out: fingerprints of which it would choose none.
    """
    lines = _Lines(reader, shelf_of(target, result), wanted, since_ms)
    if fingerprint is not None:
        shards = await reader.read([Between(f"{lines.shelf}:order", fingerprint, _ALL)])
        await lines.take([member for found in shards for member in found[0]])
        return lines.newest(limit)
    n = limit if wanted is None else max(limit, _FIRST_STEP)
    while True:
        tops = [found[0] for found in await reader.read([Top(f"{lines.shelf}:times", n, least=since_ms)])]
        await lines.take([one for top in tops for one, _ in top if one[:GROUP_CHARS] not in ruled_out])
        edge = bound(tops, n, "greatest")
        found = lines.newest(limit, edge)
        if len(found) >= limit or all(len(top) < n for top in tops):
            return found
        n *= _MORE


async def sample(reader: StoreReader, sample_id: str, *, since_ms: int = 0) -> Sample | None:
    """Return a whole sample; None where it is unknown, pushed out by others, or too old."""
    return next(iter(await whole_samples(reader, [sample_id], since_ms=since_ms)), None)


async def whole_samples(reader: StoreReader, ids: Sequence[str], *, since_ms: int = 0) -> list[Sample]:
    """Return samples whole, in the order of their ids; those that are not kept are left out."""
    reads = [
        Fields(f"{shelf_of(one.rpartition('-')[0], result)}:values", [one.rpartition("-")[2]])
        for one in ids
        for result in (Result.MISMATCH, Result.INCOMPARABLE)
    ]
    shards = await reader.read(reads)
    held = [(one, shard[2 * at + of][0]) for at, one in enumerate(ids) for of in (0, 1) for shard in shards]
    values = [(one, value) for one, value in held if value is not None]
    if len(values) <= _FEW_WHOLE:
        return _opened(reader, values, since_ms)
    return await asyncio.to_thread(_opened, reader, values, since_ms)


def _opened(reader: StoreReader, values: Sequence[tuple[str, bytes]], since_ms: int) -> list[Sample]:
    found: dict[str, Sample] = {}
    for one, value in values:
        payload = reader.opened(value, b"sample " + one.rpartition("-")[2].encode())
        if payload is None:
            continue
        with reading("a sample"):
            whole = msgspec.msgpack.decode(payload, type=Sample)
        if whole.id == one and whole.at_ms >= since_ms:
            found.setdefault(one, whole)
    return list(found.values())


class _Lines:
    """The lines read so far, and those of them that are wanted."""

    def __init__(self, reader: StoreReader, shelf: str, wanted: Predicate | None, since_ms: int) -> None:
        self.shelf = shelf
        self._reader = reader
        self._wanted = wanted
        self._since_ms = since_ms
        self._read: set[str] = set()
        self._chosen: list[Summary] = []

    async def take(self, members: Sequence[str]) -> None:
        """Read the lines of members that were not read yet."""
        fresh = [member for member in dict.fromkeys(members) if member not in self._read]
        self._read.update(fresh)
        for at in range(0, len(fresh), _AT_ONCE):
            some = fresh[at : at + _AT_ONCE]
            held = [found[0] for found in await self._reader.read([Fields(f"{self.shelf}:lines", some)])]
            lines = [(one, line) for of in held for one, line in zip(some, of, strict=True) if line is not None]
            if len(lines) <= _IN_THE_LOOP:
                self._chosen += self._choose(lines)
            else:
                self._chosen += await asyncio.to_thread(self._choose, lines)

    def newest(self, limit: int, least_ms: float = float("-inf")) -> list[Summary]:
        """Return the newest of the chosen that are no older than `least_ms`: what was not read yet may be."""
        self._chosen.sort(key=lambda one: (one.at_ms, one.id), reverse=True)
        return [one for one in self._chosen[:limit] if one.at_ms >= least_ms]

    def _choose(self, lines: Sequence[tuple[str, bytes]]) -> list[Summary]:
        opened = (self._reader.opened(line, b"line " + member[-NAME_CHARS:].encode()) for member, line in lines)
        with reading(f"a line of {self.shelf}"):
            summaries = [msgspec.msgpack.decode(line, type=Summary) for line in opened if line is not None]
        wanted = self._wanted
        return [one for one in summaries if one.at_ms >= self._since_ms and (wanted is None or wanted(one))]
