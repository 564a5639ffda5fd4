"""Causes: what people see, count, triage and filter. This lists them, with what they explain together.

Numbers belong to the current run, or to all runs whose tables the store still has. Reading never changes a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.display.cause_sentences import cause_sentence
from shadowdiff.display.wording import Segment, plain_text
from shadowdiff.model import NAME_CHARS, Kind, Result, Severity
from shadowdiff.model.relation import NO_RELATION, Relation
from shadowdiff.model.store_reader import Between
from shadowdiff.queries.errors import RequestError
from shadowdiff.report import Place, Span, State
from shadowdiff.report.cause_reader import CausesOfRuns, triage_of
from shadowdiff.report.causes import OTHER_RELATION, CauseCounts, CauseRoute, ParameterCount, aliases_of
from shadowdiff.report.change import PLACE_CHARS, ids_of
from shadowdiff.report.fingerprint import RANKS, fingerprint_id
from shadowdiff.report.fingerprint_query import Trend
from shadowdiff.report.retention import KEPT_RUNS
from shadowdiff.report.samples import sample_set_key
from shadowdiff.report.triage import Note, StateChange
from shadowdiff.verdict import compared_by_route, read_run_starts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.queries.targets import Queries
    from shadowdiff.report.triage import Triage
    from shadowdiff.verdict import Run

MAX_PAGE: Final = 200
MOST_OFFSET: Final = 10_000
WITHOUT_RUNS: Final = 0
"""The run id of a service without runs."""
_LISTED: Final = 20
_READ_SAMPLES: Final = 100
_EXAMPLES: Final = 5


class CauseOrder(StrEnum):
    """The sort key of a list, greatest value first."""

    PAIRS = "pairs"
    ALONE = "alone"
    SEVERITY = "severity"
    LAST_SEEN = "last_seen"
    FIRST_SEEN = "first_seen"


class RunScope(StrEnum):
    """The pairs that count: those of the current run, or of all runs that the store still has."""

    CURRENT = "current"
    ALL = "all"


class CauseQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which causes to return.  path: a predicate on a place; span: the trend, or None for no trend."""

    order: CauseOrder = CauseOrder.PAIRS
    limit: int = 50
    offset: int = 0
    route: str | None = None
    kind: str | None = None
    relation: str | None = None
    severity: Severity | None = None
    state: State | None = None
    path: Callable[[str], bool] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    only_new: bool = False
    span: Span | None = None
    scope: RunScope = RunScope.CURRENT


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The same change at the same place, or at places that end alike, over all routes.

    sentence: what differs, with values if all pairs have the same.  relation: `other` if no relation holds in all
    pairs.  parameter: the parameter of all pairs.  parameters: the most frequent ones, `_` for the others.
    pairs: the pairs that it explains; alone: pairs that only it explains.  exact: if false, both are lower bounds.
    share: the share of compared pairs.  revision: v2's revision when the cause was first seen; empty if unknown.
    new: whether the cause was first seen with v2's current revision, after others.  noise: whether v1 differs from
    itself at all of these places.  changes: ids of changes, which samples have too.  consequences: what differs only
    because v2 failed.  example: the id of a stored sample.
    """

    id: str
    target: str
    sentence: str
    kind: str
    relation: str
    parameter: str | None
    parameters: tuple[ParameterCount, ...]
    place: str
    places: tuple[str, ...]
    more_places: int
    routes: tuple[CauseRoute, ...]
    more_routes: int
    severity: Severity
    pairs: int
    alone: int
    exact: bool
    share: float | None
    first_seen_ms: int
    last_seen_ms: int
    revision: str
    new: bool
    noise: bool
    state: State
    reopened_ms: int | None
    stated: StateChange | None
    note: Note | None
    changes: tuple[str, ...]
    consequences: tuple[Place, ...]
    trend: Trend | None = None
    example: str | None = None


class CausePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of causes, and what they explain together.

    total: how many causes match.  stored: all causes.  mismatches: pairs that differ, in `run` or in all stored runs.
    explained: mismatches whose every difference belongs to a cause.  top_ten: mismatches that the ten causes with
    most pairs explain wholly.  exact: if false, the two are lower bounds.  compared: pairs that could be compared.
    """

    causes: tuple[Cause, ...]
    total: int
    more: bool
    stored: int
    run: int | None
    mismatches: int
    explained: int
    top_ten: int
    exact: bool
    compared: int


@dataclass(frozen=True, slots=True)
class FoundCauses:
    """A target's causes with all that is shown with them."""

    target: str
    scope: RunScope
    run: Run | None
    read: CausesOfRuns
    triage: Mapping[str, Triage]
    compared: Mapping[str, int]
    new_since_ms: int | None
    noise: frozenset[tuple[str, str, str]]


def sentence_parts(one: Cause) -> list[Segment]:
    """Return the sentence about a cause in parts, so that a page can mark what is quoted."""
    relation = NO_RELATION if one.relation == OTHER_RELATION else Relation[one.relation.upper()]
    routes = len(one.routes) + one.more_routes
    return cause_sentence(
        Kind(one.kind), one.place, relation, one.parameter or "", severity=one.severity, routes=routes
    )


async def cause_page(queries: Queries, target: str, query: CauseQuery) -> CausePage:
    """Return one page of a target's causes. Raises: RequestError if the target is unknown."""
    found = await find_causes(queries, queries.target(target).target.name, query.scope)
    rows = [one for one in (cause_view(found, row) for row in found.read.totals.causes) if _matches(one, query)]
    rows.sort(key=_sort_key(query.order))
    page = rows[query.offset : query.offset + query.limit]
    by_id = {row.id: row for row in found.read.totals.causes}
    page = await with_examples(queries, found, [by_id[one.id] for one in page], page)
    if query.span is not None:
        trends = await queries.causes.trends(found.target, [by_id[one.id] for one in page], query.span)
        page = [msgspec.structs.replace(one, trend=trend) for one, trend in zip(page, trends, strict=True)]
    totals = found.read.totals
    return CausePage(
        causes=tuple(page),
        total=len(rows),
        more=len(rows) > query.offset + query.limit,
        stored=len(totals.causes),
        run=found.run.id if found.run else None,
        mismatches=totals.pairs,
        explained=totals.explained,
        top_ten=totals.top_ten,
        exact=totals.is_exact,
        compared=sum(found.compared.values()),
    )


async def current_causes(queries: Queries, target: str) -> list[Cause]:
    """Return all causes of a target's current run, those with most pairs first, without examples and trends."""
    found = await find_causes(queries, target, RunScope.CURRENT)
    return [cause_view(found, row) for row in found.read.totals.causes]


async def find_causes(queries: Queries, target: str, scope: RunScope) -> FoundCauses:
    """Read a target's causes; they may be two seconds old."""
    run = await queries.runs.current(target) if queries.runs else None
    starts = await read_run_starts(queries.reader, target) if run else []
    ids = [run.id] if run else [] if queries.runs else [WITHOUT_RUNS]
    if scope is RunScope.ALL:
        ids = list(dict.fromkeys([*ids, *(one.id for one in reversed(starts))]))[:KEPT_RUNS]
    fold = queries.route_names(target)
    noise = await queries.runs.noise(target) if queries.runs and run else None
    known = noise.state.known if noise else None
    return FoundCauses(
        target=target,
        scope=scope,
        run=run,
        read=await queries.causes.read(target, ids, fold),
        triage=await queries.causes.triage(target),
        compared=await compared_by_route(queries.reader, target, ids, fold),
        new_since_ms=new_since(run.revision if run else None, [(one.at_ms, one.revision) for one in starts]),
        noise=frozenset([(fold(place.route), place.path, place.kind) for place in known.places] if known else ()),
    )


def new_since(revision: str | None, starts: Sequence[tuple[int, str | None]]) -> int | None:
    """Return when v2's current revision was first seen; None if there was no other revision before it.

    starts: time and revision of the newest runs, oldest first.
    """
    times = [at_ms for at_ms, name in starts if name == revision]
    if revision is None or not times or not any(at_ms < times[0] for at_ms, _ in starts):
        return None
    return times[0]


async def cause_by_id(queries: Queries, cause_id: str, scope: RunScope) -> tuple[FoundCauses, CauseCounts]:
    """Return a cause of a visible target by its id, or by an id that it had before, from this or from earlier runs.

    Raises: RequestError.
    """
    for one in dict.fromkeys([scope, RunScope.ALL]):
        for target in queries.names:
            found = await find_causes(queries, target, one)
            row = row_of(found, cause_id)
            if row is not None:
                return found, row
    raise RequestError(404, f"there is no cause with the id {cause_id!r}; it may have expired")


def row_of(found: FoundCauses, cause_id: str) -> CauseCounts | None:
    """Return the cause with this id, or with this id before; None if it is unknown."""
    causes = found.read.totals.causes
    exact = next((one for one in causes if one.id == cause_id), None)
    return exact or next((one for one in causes if cause_id in aliases_of(found.read.tables, one.group)), None)


def cause_view(found: FoundCauses, row: CauseCounts) -> Cause:
    """Return a cause as people see it."""
    triage, state, reopened_ms = triage_of(found.read, row, found.triage)
    changes = [found.read.tables.changes[id_] for id_ in row.group.changes]
    others = sorted(
        {(change.place, change.kind) for change in map(found.read.tables.changes.__getitem__, row.group.consequences)}
    )
    compared = sum(found.compared.values())
    cause = Cause(
        id=row.id,
        target=found.target,
        sentence="",
        kind=row.kind,
        relation=row.relation,
        parameter=row.parameter,
        parameters=row.parameters,
        place=row.places[0],
        places=row.places[:_LISTED],
        more_places=len(row.places[_LISTED:]),
        routes=row.routes[:_LISTED],
        more_routes=len(row.routes[_LISTED:]),
        severity=row.severity,
        pairs=row.pairs,
        alone=row.alone,
        exact=row.is_exact,
        share=min(1.0, row.pairs / compared) if compared else None,
        first_seen_ms=row.first_seen_ms,
        last_seen_ms=row.last_seen_ms,
        revision=row.revision,
        new=found.new_since_ms is not None and row.first_seen_ms >= found.new_since_ms,
        noise=all((one.route, one.place, one.kind) in found.noise for one in changes),
        state=state,
        reopened_ms=reopened_ms,
        stated=triage.stated,
        note=triage.note,
        changes=row.group.changes,
        consequences=tuple(Place(*one) for one in others[:_LISTED]),
    )
    return msgspec.structs.replace(cause, sentence=plain_text(sentence_parts(cause)))


def _matches(one: Cause, query: CauseQuery) -> bool:
    return (
        (query.route is None or any(found.route == query.route for found in one.routes))
        and query.kind in {None, one.kind}
        and query.relation in {None, one.relation}
        and query.severity in {None, one.severity}
        and query.state in {None, one.state}
        and (query.path is None or any(map(query.path, one.places)))
        and (query.since_ms is None or one.last_seen_ms >= query.since_ms)
        and (query.until_ms is None or one.last_seen_ms <= query.until_ms)
        and (one.new or not query.only_new)
    )


def _sort_key(order: CauseOrder) -> Callable[[Cause], tuple[int, int, str]]:
    values: dict[CauseOrder, Callable[[Cause], int]] = {
        CauseOrder.PAIRS: lambda one: one.pairs,
        CauseOrder.ALONE: lambda one: one.alone,
        CauseOrder.SEVERITY: lambda one: RANKS[one.severity],
        CauseOrder.LAST_SEEN: lambda one: one.last_seen_ms,
        CauseOrder.FIRST_SEEN: lambda one: one.first_seen_ms,
    }
    return lambda one: (-values[order](one), -one.pairs, one.id)


async def with_examples(
    queries: Queries, found: FoundCauses, rows: Sequence[CauseCounts], page: Sequence[Cause]
) -> list[Cause]:
    """Return the causes with the id of a sample each: samples are stored by the places of their pair."""
    names = [_fingerprint_of(found, row) for row in rows]
    key = f"{sample_set_key(found.target, Result.MISMATCH)}:order"
    shards = await queries.reader.read([Between(key, name, 1) for name in names if name])
    answers = iter(
        [next((shard[at][0] for shard in shards if shard[at]), None) for at in range(len(list(filter(None, names))))]
    )
    examples = [next(answers) if name else None for name in names]
    return [
        msgspec.structs.replace(one, example=example and f"{found.target}-{example[-NAME_CHARS:]}")
        for one, example in zip(page, examples, strict=True)
    ]


def _fingerprint_of(found: FoundCauses, row: CauseCounts) -> str | None:
    """Return the fingerprint of the cause's most frequent set; None if it is not known."""
    for field in row.sets[:1]:
        ids, has_more = ids_of(field)
        changes = [found.read.tables.changes.get(id_) for id_ in ids]
        known = [one for one in changes if one is not None and len(one.place) < PLACE_CHARS]
        if not has_more and len(known) == len(ids):
            return fingerprint_id(found.target, known[0].route, [(one.place, one.kind) for one in known])
    return None
