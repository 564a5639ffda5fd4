"""Read samples: the newest ones, those of one fingerprint, or a single whole sample.

Lists are read from the newest line, a few hundred lines at a time, until there are enough. List lines of fingerprints
that cannot match are not read. Samples that are too old, or that the store's key cannot decrypt, are skipped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import GROUP_CHARS, NAME_CHARS, Result
from shadowdiff.model.store_reader import Between, Fields, Top
from shadowdiff.report.samples import Sample, Summary, sample_set_key
from shadowdiff.store import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from shadowdiff.model.store_reader import StoreReader

_FIRST_STEP: Final = 500
_AT_ONCE: Final = 500
_IN_THE_LOOP: Final = 100
"""Up to this number of lines are decoded on the event loop. More would delay mirrored requests."""
_FEW_WHOLE: Final = 4


async def newest_samples(
    reader: StoreReader,
    target: str,
    limit: int,
    *,
    result: Result = Result.MISMATCH,
    wanted: Callable[[Summary], bool] | None = None,
    since_ms: int = 0,
    fingerprint: str | None = None,
    ruled_out: Container[str] = frozenset(),
) -> list[Summary]:
    """Return at most `limit` newest summaries that are not older than `since_ms`, of all or of one fingerprint.

    wanted: returns whether to include a summary. ruled_out: fingerprints without a summary to include.
    """
    lines = _Lines(reader, sample_set_key(target, result), wanted, since_ms)
    if fingerprint is not None:
        shards = await reader.read([Between(f"{lines.key}:order", fingerprint, 1_000_000)])
        await lines.take([member for found in shards for member in found[0]])
        return lines.newest(limit)
    n = limit if wanted is None else max(limit, _FIRST_STEP)
    while True:
        tops = [found[0] for found in await reader.read([Top(f"{lines.key}:times", n, least=since_ms)])]
        await lines.take([one for top in tops for one, _ in top if one[:GROUP_CHARS] not in ruled_out])
        edge = max((top[-1][1] for top in tops if len(top) >= n), default=float("-inf"))
        found = lines.newest(limit, edge)
        if len(found) >= limit or all(len(top) < n for top in tops):
            return found
        n *= 16


async def sample(reader: StoreReader, sample_id: str, *, since_ms: int = 0) -> Sample | None:
    """Return a whole sample; None if the sample is unknown, was replaced by other samples, or is too old."""
    return next(iter(await whole_samples(reader, [sample_id], since_ms=since_ms)), None)


async def whole_samples(reader: StoreReader, ids: Sequence[str], *, since_ms: int = 0) -> list[Sample]:
    """Return whole samples in the order of `ids`, without samples that are no longer stored."""
    reads = [
        Fields(f"{sample_set_key(one.rpartition('-')[0], result)}:values", [one.rpartition("-")[2]])
        for one in ids
        for result in (Result.MISMATCH, Result.INCOMPARABLE)
    ]
    shards = await reader.read(reads)
    stored = [(one, shard[2 * at + of][0]) for at, one in enumerate(ids) for of in (0, 1) for shard in shards]
    values = [(one, value) for one, value in stored if value is not None]
    if len(values) <= _FEW_WHOLE:
        return _opened(reader, values, since_ms)
    return await asyncio.to_thread(_opened, reader, values, since_ms)


def _opened(reader: StoreReader, values: Sequence[tuple[str, bytes]], since_ms: int) -> list[Sample]:
    found: dict[str, Sample] = {}
    for one, value in values:
        payload = reader.decode_value(value, b"sample " + one.rpartition("-")[2].encode())
        if payload is None:
            continue
        with reading("a sample"):
            whole = msgspec.msgpack.decode(payload, type=Sample)
        if whole.id == one and whole.at_ms >= since_ms:
            found.setdefault(one, whole)
    return list(found.values())


class _Lines:
    def __init__(self, reader: StoreReader, key: str, wanted: Callable[[Summary], bool] | None, since_ms: int) -> None:
        self.key = key
        self._reader = reader
        self._wanted = wanted
        self._since_ms = since_ms
        self._read: set[str] = set()
        self._chosen: list[Summary] = []

    async def take(self, members: Sequence[str]) -> None:
        """Read the list lines of new members."""
        fresh = [member for member in dict.fromkeys(members) if member not in self._read]
        self._read.update(fresh)
        for at in range(0, len(fresh), _AT_ONCE):
            some = fresh[at : at + _AT_ONCE]
            columns = [found[0] for found in await self._reader.read([Fields(f"{self.key}:lines", some)])]
            lines = [
                (one, line) for column in columns for one, line in zip(some, column, strict=True) if line is not None
            ]
            if len(lines) <= _IN_THE_LOOP:
                self._chosen += self._choose(lines)
            else:
                self._chosen += await asyncio.to_thread(self._choose, lines)

    def newest(self, limit: int, least_ms: float = float("-inf")) -> list[Summary]:
        """Return the newest matches that are not older than `least_ms`, because older matches might not be read yet."""
        self._chosen.sort(key=lambda one: (one.at_ms, one.id), reverse=True)
        return [one for one in self._chosen[:limit] if one.at_ms >= least_ms]

    def _choose(self, lines: Sequence[tuple[str, bytes]]) -> list[Summary]:
        opened = (self._reader.decode_value(line, b"line " + member[-NAME_CHARS:].encode()) for member, line in lines)
        with reading(f"a line of {self.key}"):
            summaries = [msgspec.msgpack.decode(line, type=Summary) for line in opened if line is not None]
        wanted = self._wanted
        return [one for one in summaries if one.at_ms >= self._since_ms and (wanted is None or wanted(one))]
