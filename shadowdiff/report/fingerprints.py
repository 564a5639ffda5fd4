"""Read a target's fingerprints: a page in any order, or one of them.

In: a reader and what is asked.  Out: `Fingerprint` values.
Holds: a page costs a few round trips, and its time does not grow with the pairs ever seen, nor, where nothing but
order, time and severity is asked for, with the fingerprints stored: sorted sets are the indexes. What is searched for
by route, kind or place is chosen in a catalogue that each process keeps of what never changes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec
from redis.exceptions import RedisError

from shadowdiff.model import Result, Severity
from shadowdiff.model.reader import Between, Card, Fields, Scores, Top, Whole
from shadowdiff.model.write import NAME_CHARS
from shadowdiff.report.catalogue import Catalogue
from shadowdiff.report.fingerprint import Described, Place, hour_key, key_of, minute_key
from shadowdiff.report.ranking import OTHER, bound, names_of, together
from shadowdiff.report.remarks import SILENT, Note, Remark, State, Stated, notes_key, remarks_of, states_key
from shadowdiff.report.samples import shelf_of
from shadowdiff.report.wanted import (
    BUCKETS,
    FEW,
    INDEX,
    PARTS,
    Known,
    Span,
    Wanted,
    bounds,
    has_predicate,
    is_wanted,
    narrow,
    score_of,
)
from shadowdiff.store import reading, size

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from shadowdiff.model.reader import StoreReader
    from shadowdiff.report.catalogue import OnPath

log = logging.getLogger(__name__)

EVERY_S: Final = 10.0
FIRST_STEP: Final = 500
MOST_OFFSET: Final = 10_000


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """How often in each of the last steps of time; the last one has not ended yet."""

    step_ms: int
    start_ms: int
    counts: tuple[int, ...]


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A group of mismatches that differ in the same places.

    share: of all pairs of the target that were compared.  places: the first of them, `more_places` not told.
    example: the id of a sample, where one is kept.
    state: what holds now; stated: what somebody said last. reopened_ms: when it came back after it was called fixed.
    """

    id: str
    target: str
    route: str
    places: tuple[Place, ...]
    more_places: int
    severity: Severity
    count: int
    share: float | None
    first_seen_ms: int
    last_seen_ms: int
    state: State
    reopened_ms: int | None
    stated: Stated | None
    note: Note | None
    trend: Trend
    example: str | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of fingerprints.

    total: how many were chosen; None where that was not counted.  stored: how many there are.
    other: mismatches whose fingerprints came after the bound was reached.
    """

    fingerprints: tuple[Fingerprint, ...]
    total: int | None
    more: bool
    stored: int
    other: int


class Fingerprints:
    """Reads the fingerprints of all targets."""

    def __init__(self, reader: StoreReader, now_ms: Callable[[], int]) -> None:
        self._reader = reader
        self._now_ms = now_ms
        self._catalogues: dict[str, Catalogue] = {}

    async def page(self, target: str, wanted: Wanted, compared: int = 0) -> Page:
        """Return a page. compared: the target's pairs that were compared, for the shares."""
        ground = await self._ground(target)
        chosen = await self._chosen(target, wanted, ground.remarks)
        if chosen is not None and len(chosen) <= FEW:
            names = await self._of_few(target, chosen, wanted, ground.remarks)
            total = len(names)
        else:
            names = await self._walked(target, chosen, wanted, ground.remarks)
            total = None if has_predicate(wanted) else ground.stored if chosen is None else len(chosen)
        end = wanted.offset + wanted.limit
        return Page(
            fingerprints=await self._told(target, names[wanted.offset : end], ground.remarks, wanted.span, compared),
            total=total,
            more=len(names) > end,
            stored=ground.stored,
            other=ground.other,
        )

    async def target_of(self, targets: Sequence[str], name: str) -> str | None:
        """Return which of the targets has a fingerprint of this id; None where none has."""
        shards = await self._reader.read([Scores(key_of("last", target), [name]) for target in targets])
        held = (target for at, target in enumerate(targets) if any(found[at][0] is not None for found in shards))
        return next(held, None)

    async def one(self, target: str, name: str, span: Span = Span.DAY, compared: int = 0) -> Fingerprint | None:
        """Return a fingerprint of a target; None where it was forgotten."""
        ground = await self._ground(target)
        return next(iter(await self._told(target, [name], ground.remarks, span, compared)), None)

    async def _ground(self, target: str) -> _Ground:
        """Return what every page needs: what people said, and how many fingerprints there are."""
        shards = await self._reader.read(
            [
                Whole(states_key(target)),
                Whole(notes_key(target)),
                Card(key_of("last", target)),
                Scores(key_of("count", target), [OTHER]),
            ]
        )
        with reading(f"the fingerprints of {target}"):
            return _Ground(
                remarks=remarks_of(shards[0][0], shards[0][1]),
                stored=max(int(found[2]) for found in shards),
                other=int(sum(found[3][0] or 0 for found in shards)),
            )

    async def run(self, targets: Callable[[], Sequence[str]]) -> None:
        """Know what is new of every target, until cancelled, so that nobody who chooses waits for it."""
        while True:
            try:
                for target in targets():
                    await self._looked(target)
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("the catalogue of fingerprints waits for the store", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S)

    async def ruled_out(
        self, target: str, route: str | None, kind: str | None, path: OnPath | None, glance: str = ""
    ) -> Container[str]:
        """Return the fingerprints none of whose samples has this route, kind and a place on this path."""
        catalogue = await self._looked(target)
        return await asyncio.to_thread(catalogue.ruled_out, route, kind, path, glance)

    async def _looked(self, target: str) -> Catalogue:
        catalogue = self._catalogues.setdefault(target, Catalogue(target))
        await catalogue.look(self._reader)
        return catalogue

    async def _chosen(self, target: str, wanted: Wanted, remarks: Mapping[str, Remark]) -> set[str] | None:
        """Return the names of which all that are wanted are some; None where that may be any."""
        sets: list[set[str]] = []
        if wanted.route or wanted.kind or wanted.path or wanted.glance:
            catalogue = await self._looked(target)
            sets.append(
                await asyncio.to_thread(catalogue.chosen, wanted.route, wanted.kind, wanted.path, wanted.glance)
            )
        if wanted.state not in {None, State.OPEN}:
            sets.append({name for name, remark in remarks.items() if remark.stated})
        for index in narrow(target, wanted):
            names = names_of([found[0] for found in await self._reader.read([index])])
            if len(names) <= FEW:
                sets.append(set(names))
        return set[str].intersection(*sets) if sets else None

    async def _of_few(self, target: str, chosen: set[str], wanted: Wanted, remarks: Mapping[str, Remark]) -> list[str]:
        known = await self._scores(target, list(chosen))
        fitting = [name for name, scores in known.items() if is_wanted(scores, remarks.get(name, SILENT), wanted)]
        return sorted(fitting, key=lambda name: (score_of(known[name], wanted.order), name), reverse=True)

    async def _walked(
        self, target: str, chosen: set[str] | None, wanted: Wanted, remarks: Mapping[str, Remark]
    ) -> list[str]:
        """Return names in order until the page is full and one more, or there are no more."""
        enough = wanted.offset + wanted.limit + 1
        part, how = INDEX[wanted.order]
        plain = chosen is None and not has_predicate(wanted)
        step = enough + 1 if plain else max(FIRST_STEP, enough + 1)  # one more, since the overflow may stand among them
        least, most = bounds(wanted)
        while True:
            shards = await self._reader.read([Top(key_of(part, target), step, least, most)])
            tops = [found[0] for found in shards]
            names = [name for name in names_of(tops) if chosen is None or name in chosen]
            if not plain or len(tops) > 1:
                known = await self._scores(target, names)
                edge = bound(tops, step, how)
                certain = {name for name, scores in known.items() if score_of(scores, wanted.order) >= edge}
                names = [name for name in certain if is_wanted(known[name], remarks.get(name, SILENT), wanted)]
                names.sort(key=lambda name: (score_of(known[name], wanted.order), name), reverse=True)
            if len(names) >= enough or all(len(top) < step for top in tops):
                return names
            step *= 4

    async def _scores(self, target: str, names: Sequence[str]) -> dict[str, Known]:
        """Return what is known of names, without those that the store forgot."""
        shards = await self._reader.read([Scores(key_of(part, target), names) for part, _ in PARTS])
        columns: list[list[float | None]] = shards[0]
        if len(shards) > 1:
            columns = [
                [together(scores, how) for scores in zip(*(shard[part] for shard in shards), strict=True)]
                for part, (_, how) in enumerate(PARTS)
            ]
        found: dict[str, Known] = {}
        for name, last, first, count, worst, since in zip(names, *columns, strict=True):
            if last is not None:
                found[name] = Known(int(last), int(first or last), int(count or 0), int(worst or 0), _whole(since))
        return found

    async def _told(
        self, target: str, names: Sequence[str], remarks: Mapping[str, Remark], span: Span, compared: int
    ) -> tuple[Fingerprint, ...]:
        """Return fingerprints whole, in the order of their names."""
        step_ms, steps = BUCKETS[span]
        start_ms = (self._now_ms() // step_ms - steps + 1) * step_ms
        key = minute_key if span is Span.HOUR else hour_key
        buckets = [Fields(key(target, start_ms + step * step_ms), names) for step in range(steps)]
        order = f"{shelf_of(target, Result.MISMATCH)}:order"
        examples = [Between(order, name, 1) for name in names]
        shards = await self._reader.read([Fields(key_of("what", target), names), *buckets, *examples])
        known = await self._scores(target, names)
        told: list[Fingerprint] = []
        for at, name in enumerate(names):
            what = next((found[0][at] for found in shards if found[0][at] is not None), None)
            if what is None or name not in known:
                continue
            with reading(f"a fingerprint of {target}"):
                counts = tuple(sum(size(found[1 + step][at] or 0) for found in shards) for step in range(steps))
                described = msgspec.msgpack.decode(what, type=Described)
            trend = Trend(step_ms=step_ms, start_ms=start_ms, counts=counts)
            remark = remarks.get(name, SILENT)
            kept = next((found[1 + steps + at][0] for found in shards if found[1 + steps + at]), None)
            told.append(
                msgspec.structs.replace(
                    _fingerprint(target, name, described, known[name], remark=remark, trend=trend, of=compared),
                    example=kept and f"{target}-{kept[-NAME_CHARS:]}",
                )
            )
        return tuple(told)


class _Ground(msgspec.Struct, frozen=True):
    """What every page needs."""

    remarks: dict[str, Remark]
    stored: int
    other: int


def _fingerprint(
    target: str, name: str, what: Described, known: Known, *, remark: Remark, trend: Trend, of: int
) -> Fingerprint:
    state, reopened_ms = remark.state(known.since)
    return Fingerprint(
        id=name,
        target=target,
        route=what.route,
        places=what.places,
        more_places=what.more,
        severity=known.severity,
        count=known.count,
        share=min(1.0, known.count / of) if of else None,
        first_seen_ms=known.first,
        last_seen_ms=known.last,
        state=state,
        reopened_ms=reopened_ms,
        stated=remark.stated,
        note=remark.note,
        trend=trend,
    )


def _whole(score: float | None) -> int | None:
    return None if score is None else int(score)
