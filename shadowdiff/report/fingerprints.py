"""Read a target's fingerprints: one page in any order, or a single fingerprint.

A page costs a few round trips. The time of a query does not depend on the number of pairs. If a query selects only by
order, time and severity, its time does not depend on the number of fingerprints either, because sorted sets are the
indexes. Each process has an index in memory for route, kind and path. Rankings of several shards are merged exactly:
the last scores that were read limit the score of all unread names, and only names with at least this score are certain.
Source: R. Fagin, A. Lotem, M. Naor, Optimal aggregation algorithms for middleware (2001), the threshold algorithm.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import NAME_CHARS, OTHER, Result, Severity
from shadowdiff.model.store_reader import Between, Card, Fields, Scores, Top, Whole
from shadowdiff.report.fingerprint import RANK, RANKS, Described, bucket_key, key_of
from shadowdiff.report.fingerprint_index import FingerprintIndex, ranked_names
from shadowdiff.report.fingerprint_query import BUCKETS, Fingerprint, FingerprintQuery, Order, Page, Span, Trend
from shadowdiff.report.samples import sample_set_key
from shadowdiff.report.triage import NO_TRIAGE, State, Triage, read_triage
from shadowdiff.store import STORE_ERRORS, reading, size

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from shadowdiff.model.store_reader import StoreReader
    from shadowdiff.report.fingerprint_index import OnPath

log = logging.getLogger(__name__)

EVERY_S: Final = 10.0
FIRST_STEP: Final = 500
MOST_OFFSET: Final = 10_000
_FEW: Final = 1_500
"""Up to this number of names, all are scored and sorted. For more names, an index is read until the page is full."""
_SEVERITIES: Final = {rank: severity for severity, rank in RANKS.items()}
_PARTS: Final[dict[str, Callable[[Iterable[float]], float]]] = {
    "last": max, "first": min, "count": sum, "worst": max, "since": min,
}  # fmt: skip
"""The scores of a fingerprint, and how to merge those of several shards."""
_PART_OF: Final = {
    Order.LAST_SEEN: "last", Order.COUNT: "count", Order.FIRST_SEEN: "first", Order.SEVERITY: "worst",
}  # fmt: skip


class FingerprintScores(msgspec.Struct, frozen=True):
    """The scores of one fingerprint from all shards, by part of `_PARTS`."""

    last: int
    first: int
    count: int
    worst: int
    since: int | None

    @property
    def severity(self) -> Severity:
        """The highest severity of the fingerprint's differences."""
        return _SEVERITIES.get(self.worst // RANK, Severity.BREAKING)


def _filters_scores(query: FingerprintQuery) -> bool:
    """Whether a query selects by severity, time or state."""
    return not (query.severity is None and query.state is None and query.since_ms is None and query.until_ms is None)


def _bounds(query: FingerprintQuery) -> tuple[int | None, int | None]:
    """Return the range of matching scores in the index of the query's order."""
    if query.order is Order.LAST_SEEN:
        return query.since_ms, query.until_ms
    if query.order is Order.SEVERITY and query.severity is not None:
        return _of_severity(query.severity)
    return None, None


def _of_severity(severity: Severity) -> tuple[int, int]:
    rank = RANKS[severity]
    return rank * RANK, (rank + 1) * RANK - 1


def _narrowing_reads(target: str, query: FingerprintQuery) -> Iterable[Top]:
    """Yield reads of other indexes, which might show that only a few names can match."""
    if query.severity is not None and query.order is not Order.SEVERITY:
        yield Top(key_of("worst", target), _FEW + 1, *_of_severity(query.severity))
    if query.since_ms is not None and query.order is not Order.LAST_SEEN:
        yield Top(key_of("last", target), _FEW + 1, query.since_ms, query.until_ms)


def _matching(
    scores: Mapping[str, FingerprintScores], query: FingerprintQuery, triage: Mapping[str, Triage]
) -> list[str]:
    """Return the names of fingerprints with matching severity, time and state, in the order of the query."""
    part = _PART_OF[query.order]
    found = [
        name
        for name, one in scores.items()
        if (query.severity is None or one.severity is query.severity)
        and (query.since_ms is None or one.last >= query.since_ms)
        and (query.until_ms is None or one.last <= query.until_ms)
        and (query.state is None or triage.get(name, NO_TRIAGE).state(one.since)[0] is query.state)
    ]
    return sorted(found, key=lambda name: (getattr(scores[name], part), name), reverse=True)


class Fingerprints:
    """Reads the fingerprints of all targets."""

    def __init__(self, reader: StoreReader, now_ms: Callable[[], int]) -> None:
        self._reader = reader
        self._now_ms = now_ms
        self._indexes: dict[str, FingerprintIndex] = {}

    async def page(self, target: str, query: FingerprintQuery, compared: int = 0) -> Page:
        """Return a page. compared: the number of the target's compared pairs, to compute shares."""
        triage, stored, other = await self._overview(target)
        chosen = await self._chosen(target, query, triage)
        if chosen is not None and len(chosen) <= _FEW:
            names = _matching(await self._scores(target, list(chosen)), query, triage)
            total = len(names)
        else:
            names = await self._walked(target, chosen, query, triage)
            total = None if _filters_scores(query) else stored if chosen is None else len(chosen)
        end = query.offset + query.limit
        fingerprints = await self._read(target, names[query.offset : end], triage, query.span, compared)
        return Page(fingerprints=fingerprints, total=total, more=len(names) > end, stored=stored, other=other)

    async def target_of(self, targets: Sequence[str], name: str) -> str | None:
        """Return the target that has a fingerprint with this id, or None."""
        shards = await self._reader.read([Scores(key_of("last", target), [name]) for target in targets])
        found = (target for at, target in enumerate(targets) if any(scores[at][0] is not None for scores in shards))
        return next(found, None)

    async def one(self, target: str, name: str, span: Span = Span.DAY, compared: int = 0) -> Fingerprint | None:
        """Return a fingerprint of a target; None if it is no longer stored."""
        triage, _, _ = await self._overview(target)
        return next(iter(await self._read(target, [name], triage, span, compared)), None)

    async def run(self, targets: Callable[[], Sequence[str]]) -> None:
        """Update the index of every target until cancelled, so that queries do not wait for it."""
        while True:
            try:
                for target in targets():
                    await self._index(target)
            except STORE_ERRORS as error:
                log.debug("store unavailable; will retry updating the fingerprint index", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S)

    async def ruled_out(
        self, target: str, route: str | None, kind: str | None, path: OnPath | None, glance: str = ""
    ) -> Container[str]:
        """Return the fingerprints that have no sample with this route and kind, and a place on this path."""
        index = await self._index(target)
        return await asyncio.to_thread(index.ruled_out, route, kind, path, glance)

    async def _overview(self, target: str) -> tuple[dict[str, Triage], int, int]:
        """Return the triage, the number of stored fingerprints, and the number of mismatches beyond the limit."""
        shards = await self._reader.read([
            Whole(key_of("states", target)),
            Whole(key_of("notes", target)),
            Card(key_of("last", target)),
            Scores(key_of("count", target), [OTHER]),
        ])  # fmt: skip
        with reading(f"the fingerprints of {target}"):
            stored, other = max(int(found[2]) for found in shards), int(sum(found[3][0] or 0 for found in shards))
            return read_triage(shards[0][0], shards[0][1]), stored, other

    async def _index(self, target: str) -> FingerprintIndex:
        index = self._indexes.setdefault(target, FingerprintIndex(target))
        await index.refresh(self._reader)
        return index

    async def _chosen(self, target: str, query: FingerprintQuery, triage: Mapping[str, Triage]) -> set[str] | None:
        """Return a set of names that includes all matches; None if any name may match."""
        sets: list[set[str]] = []
        if query.route or query.kind or query.path or query.glance:
            index = await self._index(target)
            sets.append(await asyncio.to_thread(index.chosen, query.route, query.kind, query.path, query.glance))
        if query.state not in {None, State.OPEN}:
            sets.append({name for name, one in triage.items() if one.stated})
        for read in _narrowing_reads(target, query):
            names = ranked_names([found[0] for found in await self._reader.read([read])])
            if len(names) <= _FEW:
                sets.append(set(names))
        return set[str].intersection(*sets) if sets else None

    async def _walked(
        self, target: str, chosen: set[str] | None, query: FingerprintQuery, triage: Mapping[str, Triage]
    ) -> list[str]:
        """Return names in order until there is one name more than a full page, or there are no more names."""
        enough = query.offset + query.limit + 1
        part = _PART_OF[query.order]
        is_plain = chosen is None and not _filters_scores(query)
        step = enough + 1 if is_plain else max(FIRST_STEP, enough + 1)  # one more name: `_other` may be included
        least, most = _bounds(query)
        while True:
            shards = await self._reader.read([Top(key_of(part, target), step, least, most)])
            tops = [found[0] for found in shards]
            names = [name for name in ranked_names(tops) if chosen is None or name in chosen]
            if not is_plain or len(tops) > 1:
                scores = await self._scores(target, names)
                last = [top[-1][1] for top in tops if len(top) >= step]  # a name outside `tops` scores `edge` at most
                edge = float("-inf") if not last else sum(last) if part == "count" else max(last)
                certain = {name: one for name, one in scores.items() if getattr(one, part) >= edge}
                names = _matching(certain, query, triage)
            if len(names) >= enough or all(len(top) < step for top in tops):
                return names
            step *= 4

    async def _scores(self, target: str, names: Sequence[str]) -> dict[str, FingerprintScores]:
        """Return the scores of names, except names that are no longer stored."""
        shards = await self._reader.read([Scores(key_of(part, target), names) for part in _PARTS])
        found: dict[str, FingerprintScores] = {}
        for at, name in enumerate(names):
            last, first, count, worst, since = (
                int(merge(known))
                if (known := [one for shard in shards if (one := shard[part][at]) is not None])
                else None
                for part, merge in enumerate(_PARTS.values())
            )
            if last is not None:
                found[name] = FingerprintScores(last, first or last, count or 0, worst or 0, since)
        return found

    async def _read(
        self, target: str, names: Sequence[str], triage: Mapping[str, Triage], span: Span, compared: int
    ) -> tuple[Fingerprint, ...]:
        step_ms, steps = BUCKETS[span]
        start_ms = (self._now_ms() // step_ms - steps + 1) * step_ms
        shards = await self._reader.read([
            Fields(key_of("what", target), names),
            *(Fields(bucket_key(target, step_ms, start_ms + step * step_ms), names) for step in range(steps)),
            *(Between(f"{sample_set_key(target, Result.MISMATCH)}:order", name, 1) for name in names),
        ])  # fmt: skip
        scores = await self._scores(target, names)
        found: list[Fingerprint] = []
        for at, name in enumerate(names):
            what = next((shard[0][at] for shard in shards if shard[0][at] is not None), None)
            if what is None or name not in scores:
                continue
            example = next((shard[1 + steps + at][0] for shard in shards if shard[1 + steps + at]), None)
            with reading(f"a fingerprint of {target}"):
                described = msgspec.msgpack.decode(what, type=Described)
                counts = tuple(sum(size(shard[1 + step][at] or 0) for shard in shards) for step in range(steps))
            one, of_one = scores[name], triage.get(name, NO_TRIAGE)
            state, reopened_ms = of_one.state(one.since)
            fingerprint = Fingerprint(
                id=name,
                target=target,
                route=described.route,
                places=described.places,
                more_places=described.more,
                severity=one.severity,
                count=one.count,
                share=min(1.0, one.count / compared) if compared else None,
                first_seen_ms=one.first,
                last_seen_ms=one.last,
                state=state,
                reopened_ms=reopened_ms,
                stated=of_one.stated,
                note=of_one.note,
                trend=Trend(step_ms=step_ms, start_ms=start_ms, counts=counts),
                example=example and f"{target}-{example[-NAME_CHARS:]}",
            )
            found.append(fingerprint)
        return tuple(found)
