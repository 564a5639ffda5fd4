"""Causes with their numbers: a pure function of the tables of one run.

A pair belongs to a cause if one of its changes does, and to the cause alone if all do. Numbers are exact while no table
is full and every set is complete; otherwise they are lower bounds, and `is_exact` is false.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Severity
from shadowdiff.model.relation import Relation
from shadowdiff.report.cause_groups import RELATIONS, CauseGroup, cause_id, groups_of, named_segments
from shadowdiff.report.cause_writes import OTHER_PARAMETER
from shadowdiff.report.change import ids_of, set_id
from shadowdiff.report.fingerprint import RANKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.report.cause_tables import CauseTables

_SEVERITIES: Final = {rank: severity for severity, rank in RANKS.items()}
_PARAMETERS: Final = 8
OTHER_RELATION: Final = "other"
"""The name of a relation if none describes a cause."""


class CauseRoute(msgspec.Struct, frozen=True, kw_only=True):
    """The number of a route's pairs that a cause explains."""

    route: str
    pairs: int


class ParameterCount(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a relation, such as `free → basic`, and the number of pairs with it; `_` for all others."""

    relation: str
    text: str
    pairs: int


class CauseCounts(msgspec.Struct, frozen=True, kw_only=True):
    """A cause and its numbers.

    relation: the relation's name, or `other`.  parameter: that of all pairs; None if they differ.
    places: the places, most frequent first.  sets: the fields of its sets, most frequent first.
    alone: pairs that only this cause explains.  revision: v2's revision when it was first seen; empty if unknown.
    """

    id: str
    kind: str
    relation: str
    parameter: str | None
    places: tuple[str, ...]
    routes: tuple[CauseRoute, ...]
    parameters: tuple[ParameterCount, ...]
    pairs: int
    alone: int
    is_exact: bool
    severity: Severity
    first_seen_ms: int
    last_seen_ms: int
    revision: str
    group: CauseGroup
    sets: tuple[str, ...]


class CauseTotals(msgspec.Struct, frozen=True, kw_only=True):
    """All causes of the tables, those with most pairs first.

    pairs: all mismatches.  explained: pairs whose every change belongs to a cause.
    top_ten: pairs that the first ten causes explain wholly.  is_exact: whether these numbers are exact.
    """

    causes: tuple[CauseCounts, ...]
    pairs: int
    explained: int
    top_ten: int
    is_exact: bool


class _Sums:
    """What one pass over the sets finds: by the number of a cause."""

    def __init__(self, tables: CauseTables, groups: Sequence[CauseGroup]) -> None:
        self.cause_of = {id_: at for at, one in enumerate(groups) for id_ in (*one.changes, *one.consequences)}
        self.pairs: Counter[tuple[int, str]] = Counter()
        self.alone: Counter[tuple[int, str]] = Counter()
        self.sets: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.covers: list[tuple[frozenset[int], int]] = []
        self.is_whole = not tables.other_sets and not tables.other_changes
        for field, count in tables.sets.items():
            self._add(tables, field, count)

    def _add(self, tables: CauseTables, field: str, count: int) -> None:
        ids, has_more = ids_of(field)
        known = [id_ for id_ in ids if id_ in self.cause_of]
        causes = frozenset([self.cause_of[id_] for id_ in known])
        is_whole = not has_more and len(known) == len(ids)
        self.is_whole = self.is_whole and is_whole
        if not known:
            return
        route = tables.changes[known[0]].route
        for cause in causes:
            self.pairs[cause, route] += count
            self.sets[cause][field] += count
        if is_whole:
            self.covers.append((causes, count))
            if len(causes) == 1:
                self.alone[next(iter(causes)), route] += count

    def wholly(self, causes: frozenset[int]) -> int:
        """Return the number of pairs that these causes explain wholly."""
        return sum(count for some, count in self.covers if some <= causes)


def causes_of(tables: CauseTables) -> CauseTotals:
    """Return the causes of these tables, with their numbers."""
    groups = groups_of(tables)
    sums = _Sums(tables, groups)
    names = _names(tables.target, groups)
    found = [_counted(tables, sums, at, group, names[at]) for at, group in enumerate(groups)]
    order = sorted(range(len(groups)), key=lambda at: (-found[at].pairs, -found[at].alone, found[at].id))
    return CauseTotals(
        causes=tuple(found[at] for at in order),
        pairs=tables.pairs,
        explained=sum(count for _, count in sums.covers),
        top_ten=sums.wholly(frozenset(order[:10])),
        is_exact=sums.is_whole,
    )


def _names(target: str, groups: Sequence[CauseGroup]) -> list[str]:
    """Return the id of each group. The parameter is a part of it only if two groups have all else in common."""
    plain = [cause_id(target, one.relation, one.tail, one.kind) for one in groups]
    times = Counter(plain)
    return [
        name if times[name] == 1 else cause_id(target, one.relation, one.tail, one.kind, one.parameter or "")
        for name, one in zip(plain, groups, strict=True)
    ]


def aliases_of(tables: CauseTables, group: CauseGroup) -> frozenset[str]:
    """Return the ids that this cause has, had or may have when its changes are grouped in another way."""
    found: set[str] = set()
    for id_ in group.changes:
        change = tables.changes[id_]
        names = named_segments(change.place)
        tails = {names[-2:], names[-1:], (change.place,)}
        for relation in (0, *RELATIONS):
            if relation and not change.mask & relation:
                continue
            text = tables.constant(id_, relation) if relation else None
            texts = {None, "", text}
            found.update(cause_id(tables.target, relation, tail, change.kind, one) for tail in tails for one in texts)
    return frozenset(found)


def _counted(tables: CauseTables, sums: _Sums, at: int, group: CauseGroup, name: str) -> CauseCounts:
    by_route: defaultdict[str, list[str]] = defaultdict(list)
    places: Counter[str] = Counter()
    for id_ in group.changes:
        by_route[tables.changes[id_].route].append(id_)
        places[tables.changes[id_].place] += tables.counts[id_]
    routes = {route: _of_route(tables, sums.pairs[at, route], ids) for route, ids in by_route.items()}
    is_single = not tables.other_changes and all(len(ids) == 1 for ids in by_route.values())
    history = tables.history
    known = ((history.first_ms[id_], id_) for id_ in group.changes if id_ in history.first_ms)
    first_ms, first = min(known, default=(0, ""))
    worst = max((history.worst.get(id_, 0) for id_ in group.changes), default=0)
    sets = tuple(sorted(sums.sets[at], key=lambda one: (-sums.sets[at][one], one)))
    return CauseCounts(
        id=name,
        kind=group.kind,
        relation=_relation_name(group.relation),
        parameter=group.parameter,
        places=tuple(sorted(places, key=lambda place: (-places[place], place))),
        routes=tuple(
            CauseRoute(route=route, pairs=count)
            for route, count in sorted(routes.items(), key=lambda item: (-item[1], item[0]))
        ),
        parameters=_parameters(tables, group),
        pairs=sum(routes.values()),
        alone=sum(
            max(sums.alone[at, route], sum(tables.alone.get(id_, 0) for id_ in ids)) for route, ids in by_route.items()
        ),
        is_exact=sums.is_whole or (is_single and not group.consequences),
        severity=_SEVERITIES.get(worst, Severity.BREAKING),
        first_seen_ms=first_ms,
        last_seen_ms=max((history.last_ms.get(set_id(one), 0) for one in sets), default=0),
        revision=history.revision.get(first, ""),
        group=group,
        sets=sets,
    )


def _of_route(tables: CauseTables, in_sets: int, ids: Sequence[str]) -> int:
    """Return the pairs of a cause on one route; the counts of single changes help if the table of sets is full."""
    return max(in_sets, *(tables.counts[id_] for id_ in ids))


def _relation_name(relation: int) -> str:
    return str(Relation(relation).name).lower() if relation else OTHER_RELATION


def _parameters(tables: CauseTables, group: CauseGroup) -> tuple[ParameterCount, ...]:
    """Return the most frequent parameters of the cause's relation, or of constants if it has none."""
    relation = group.relation or int(Relation.CONSTANT)
    counts: Counter[str] = Counter()
    for id_ in group.changes:
        counts.update(tables.params.get((id_, relation), {}))
    others = counts.pop(OTHER_PARAMETER, 0)
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    others += sum(count for _, count in top[_PARAMETERS:])
    rows: Iterable[tuple[str, int]] = [*top[:_PARAMETERS], *([(OTHER_PARAMETER, others)] if others else ())]
    return tuple(ParameterCount(relation=_relation_name(relation), text=text, pairs=count) for text, count in rows)
