"""One cause: the values and samples of its pairs, and the state and note that users set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.queries.causes import (
    Cause,
    FoundCauses,
    RunScope,
    cause_by_id,
    cause_view,
    find_causes,
    row_of,
    with_examples,
)
from shadowdiff.queries.common_attributes import common_of
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.fingerprints import PlaceValues, values_by_place
from shadowdiff.report import Place, Span, State, Summary, TriageWriter, newest_samples
from shadowdiff.report.change import Change, bounded_name
from shadowdiff.report.common_attributes import Common
from shadowdiff.verdict import read_history

if TYPE_CHECKING:
    from shadowdiff.queries.targets import Queries
    from shadowdiff.report.causes import CauseCounts

_READ_SAMPLES: Final = 100
_PLACES: Final = 5
_MINUTE_MS: Final = 60_000


class CauseDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A cause with the values and the ids of its newest samples.

    run: the pairs that its numbers count; `all` if it has no pairs in the current run.
    quiet_pairs: compared pairs of its routes since it was last seen, in whole minutes or hours.
    common: what its pairs in the current run have in common, and other pairs of its routes have not.
    """

    cause: Cause
    values: tuple[PlaceValues, ...]
    samples: tuple[str, ...]
    quiet_pairs: int
    common: Common
    run: RunScope


async def cause_detail(
    queries: Queries, cause_id: str, span: Span = Span.DAY, scope: RunScope = RunScope.CURRENT
) -> CauseDetail:
    """Return a cause with the values of its samples. Raises: RequestError if it is unknown."""
    found, row = await cause_by_id(queries, cause_id, scope)
    (one,) = await with_examples(queries, found, [row], [cause_view(found, row)])
    (trend,) = await queries.causes.trends(found.target, [row], span)
    samples = await _samples(queries, found.target, row, _READ_SAMPLES)
    places = [Place(place, row.kind) for place in row.places[:_PLACES]]
    return CauseDetail(
        cause=msgspec.structs.replace(one, trend=trend),
        values=values_by_place(places, samples),
        samples=tuple(sample.id for sample in samples),
        run=found.scope,
        quiet_pairs=await _quiet_pairs(queries, found.target, row),
        common=await common_of(queries, found.target, one.changes, row.places),
    )


async def cause_samples(queries: Queries, cause_id: str, limit: int) -> list[Summary]:
    """Return the newest samples of a cause. Raises: RequestError if it is unknown."""
    found, row = await cause_by_id(queries, cause_id, RunScope.ALL)
    return await _samples(queries, found.target, row, limit)


@dataclass(frozen=True, slots=True)
class CauseTriage:
    """Sets states and notes of causes.  writer: None if they are not stored."""

    queries: Queries
    writer: TriageWriter | None = None

    async def set_state(self, cause_id: str, state: State, author: str) -> Cause:
        """Set a cause's state. Raises: RequestError."""
        writer, found, row = await self._found(cause_id)
        await writer.set_cause_state(found.target, row.id, state, author)
        return await self._after(found, row)

    async def set_note(self, cause_id: str, text: str, author: str) -> Cause:
        """Set a cause's note. An empty text removes the note. Raises: RequestError."""
        writer, found, row = await self._found(cause_id)
        await writer.set_cause_note(found.target, row.id, text, author)
        return await self._after(found, row)

    async def _found(self, cause_id: str) -> tuple[TriageWriter, FoundCauses, CauseCounts]:
        if self.writer is None:
            raise RequestError(501, "this service does not store states and notes")
        return self.writer, *await cause_by_id(self.queries, cause_id, RunScope.ALL)

    async def _after(self, found: FoundCauses, row: CauseCounts) -> Cause:
        """Return the cause with its new triage; its numbers are those of the current run, if it has pairs there."""
        for scope in RunScope:
            now = await find_causes(self.queries, found.target, scope)
            current = row_of(now, row.id)
            if current is not None:
                return cause_view(now, current)
        return cause_view(found, row)


async def _samples(queries: Queries, target: str, row: CauseCounts, limit: int) -> list[Summary]:
    changes = {*row.group.changes, *row.group.consequences}

    def has_change(line: Summary) -> bool:
        route = bounded_name(line.route)
        return any(
            Change(route, bounded_name(one.pattern), one.kind.value, one.relations).id in changes
            for one in line.differences
        )

    return await newest_samples(queries.reader, target, limit, wanted=has_change, since_ms=queries.since_ms)


async def _quiet_pairs(queries: Queries, target: str, row: CauseCounts) -> int:
    """Return how many pairs of the cause's routes were compared since the cause was last seen."""
    now_ms = queries.now_ms()
    if not row.last_seen_ms or now_ms - row.last_seen_ms < _MINUTE_MS:
        return 0
    start_ms = row.last_seen_ms + _MINUTE_MS
    history = await read_history(queries.reader, target, start_ms, now_ms, now_ms, fold=queries.route_names(target))
    routes = {one.route for one in row.routes}
    return sum(one.compared for one in history.routes if one.route in routes)
