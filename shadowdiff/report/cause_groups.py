"""Group changes into causes: the same relation at the same place, or at places that end alike, over all routes.

Pure, and independent of the order of changes. First the changes of each place on each route are divided, because two
relations that no pair shares are two causes. Then equal relations at places with the same last segments are joined.
A relation between any two values, such as an offset, describes a group only if its parameter is always the same.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from shadowdiff.model import Kind
from shadowdiff.model.relation import Relation
from shadowdiff.report.change import ids_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shadowdiff.report.cause_tables import CauseTables
    from shadowdiff.report.change import Change

ID_CHARS: Final = 12
LAST_SEGMENTS: Final = 2
_NAME: Final = re.compile(r"\['((?:[^'\\]|\\.)*)'\]")
_MOST_PARTS: Final = 3
"""The number of relations into which the changes of one place on one route are divided."""
_LEAST_SHARE: Final = 3
"""A relation that holds in less than a third of the remaining pairs of a place may be a coincidence."""
_ENOUGH_PAIRS: Final = 3
"""A parameter on a single route describes a cause if at least this number of pairs has it."""
RELATIONS: Final = tuple(map(int, Relation))
"""Plain integers, because operations on flags take several times as long."""
_ALONE: Final = int(Relation.OFFSET | Relation.CONSTANT)
"""Relations between any two numbers or short values: without a parameter, they say nothing."""
_WEAK: Final = int(Relation.TIME_SHIFTED | Relation.PREFIX | Relation.SUFFIX)
"""Relations that are less specific than all others if the parameter varies."""
_Item = TypeVar("_Item")
_Name = TypeVar("_Name")

Option = tuple[int, str | None]
"""A relation that holds for all changes of a group, and its parameter if all pairs have the same one."""


class CauseGroup(msgspec.Struct, frozen=True):
    """The changes of one cause.

    tail: the last named segments of the place, or the whole place.  relation: 0 if no relation describes the group.
    changes: ids, in order.  consequences: ids of changes that only occur in pairs in which v2 fails.
    """

    kind: str
    tail: tuple[str, ...]
    relation: int
    parameter: str | None
    changes: tuple[str, ...]
    consequences: tuple[str, ...] = ()


class _Part(msgspec.Struct, frozen=True):
    """A part of the changes of one place on one route, with the options that hold in all of its pairs."""

    place: str
    kind: str
    changes: tuple[str, ...]
    pairs: int
    options: frozenset[Option]


@lru_cache(maxsize=8192)
def named_segments(place: str) -> tuple[str, ...]:
    """Return the names in a JSON path; any other place is one segment."""
    names = tuple(_NAME.findall(place)) if place.startswith("$") else ()
    return names or (place,)


def cause_id(target: str, relation: int, tail: Sequence[str], kind: str, parameter: str | None = None) -> str:
    """Return the id of a cause, which no other target has: 12 hexadecimal digits.

    parameter: None, unless another cause has the same relation, segments and kind.
    """
    name = Relation(relation).name or "" if relation else "OTHER"
    parts = (target, name, *tail, kind, *([] if parameter is None else [parameter]))
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=ID_CHARS // 2).hexdigest()


def groups_of(tables: CauseTables) -> list[CauseGroup]:
    """Return the causes of these tables as groups of changes, in a fixed order."""
    sites = _by(tables.changes.items(), lambda one: (one[1].route, one[1].place, one[1].kind))
    parts = [part for site in sites.values() for part in _divided(tables, site)]
    alike = [_usable(some) for some in _by(parts, lambda one: (one.kind, named_segments(one.place)[-1])).values()]
    groups = [group for some in alike for one in _by(some, _tail).values() for group in _joined(one)]
    found = _with_consequences(tables, _same_ending(groups))
    return sorted(found, key=lambda one: (one.kind, one.tail, one.relation, one.parameter or ""))


def _divided(tables: CauseTables, site: Sequence[tuple[str, Change]]) -> list[_Part]:
    """Return the parts of the changes of one place on one route: at most three relations, and what remains."""
    place = site[0][1]
    options = {id_: _options(tables, id_, change.mask) for id_, change in sorted(site)}
    left: dict[str, frozenset[Option]] = dict(options)
    parts: list[_Part] = []
    while left and len(parts) < _MOST_PARTS:
        total = sum(tables.counts[id_] for id_ in left)
        pairs: Counter[Option] = Counter()
        for id_, some in left.items():
            pairs.update(dict.fromkeys(some, tables.counts[id_]))
        chosen = min(pairs, key=lambda one: (-pairs[one], *_specificity(one)), default=None)
        if chosen is None or pairs[chosen] * _LEAST_SHARE < total:
            break
        parts.append(_part(tables, place, [id_ for id_, some in left.items() if chosen in some], options))
        left = {id_: some for id_, some in left.items() if chosen not in some}
    return [*parts, *([_part(tables, place, list(left), options)] if left else ())]


def _options(tables: CauseTables, id_: str, mask: int) -> frozenset[Option]:
    """Return what may describe one change: each relation, with and without its parameter."""
    found: set[Option] = set()
    for relation in RELATIONS:
        if mask & relation:
            text = tables.constant(id_, relation)
            found.update([(relation, text)] if text is not None else ())
            found.update([(relation, None)] if not relation & _ALONE else ())
    return frozenset(found)


def _part(tables: CauseTables, site: Change, ids: Sequence[str], options: Mapping[str, frozenset[Option]]) -> _Part:
    pairs, shared = sum(tables.counts[id_] for id_ in ids), _shared([options[id_] for id_ in ids])
    return _Part(site.place, site.kind, tuple(sorted(ids)), pairs, shared)


def _specificity(option: Option) -> tuple[bool, int, bool, str]:
    """Return a sort key: relations in their order, weak ones without a parameter last."""
    relation, text = option
    return text is None and bool(relation & _WEAK), relation, text is None, text or ""


def _tail(part: _Part) -> tuple[str, ...]:
    return named_segments(part.place)[-LAST_SEGMENTS:]


def _usable(parts: Sequence[_Part]) -> list[_Part]:
    """Return parts at places that end alike, without parameters that only a few pairs of one route have."""
    sizes: Counter[Option] = Counter()
    pairs: Counter[Option] = Counter()
    for part in parts:
        sizes.update(part.options)
        pairs.update(dict.fromkeys(part.options, part.pairs))

    def usable(part: _Part) -> frozenset[Option]:
        found = {
            one
            for one in part.options
            if one[1] is not None and (sizes[one] > 1 or pairs[one] >= _ENOUGH_PAIRS or part.kind == Kind.STATUS)
        }
        certain = {relation for relation, _ in found}
        return frozenset(found | {one for one in part.options if one[1] is None and one[0] not in certain})

    return [msgspec.structs.replace(part, options=usable(part)) for part in parts]


def _joined(parts: Sequence[_Part]) -> list[CauseGroup]:
    """Return the causes at places with the same last segments: as few as possible, each with one relation."""
    left = list(parts)
    found: list[CauseGroup] = []
    while left:
        sizes: Counter[Option] = Counter()
        pairs: Counter[Option] = Counter()
        for part in left:
            sizes.update(part.options)
            pairs.update(dict.fromkeys(part.options, part.pairs))
        if not sizes:
            break
        best = min(sizes, key=lambda one: (-sizes[one], -pairs[one], *_specificity(one)))
        members = [part for part in left if best in part.options]
        found += _with_option(min(_shared([part.options for part in members]), key=_specificity), members)
        left = [part for part in left if best not in part.options]
    return found + _with_option((0, None), left)


def _shared(sets: Sequence[frozenset[Option]]) -> frozenset[Option]:
    return frozenset([one for one in sets[0] if all(one in some for some in sets)])


def _with_option(option: Option, parts: Sequence[_Part]) -> list[CauseGroup]:
    """Return the parts as one cause; if nothing but the place says that they are alike, as one for each place."""
    relation, text = option
    is_by_place = bool(parts) and _is_by_place(relation, parts[0].kind)

    def tail(part: _Part) -> tuple[str, ...]:
        return (part.place,) if is_by_place else _tail(part)

    return [
        CauseGroup(some[0].kind, name, relation, text, tuple(sorted(id_ for part in some for id_ in part.changes)))
        for name, some in _by(parts, tail).items()
    ]


def _is_by_place(relation: int, kind: str) -> bool:
    """Whether places that end alike are different causes; a missing or added member is the same change at all."""
    return relation == Relation.GENERATED or (not relation and kind not in {Kind.ADDED, Kind.REMOVED})


def _same_ending(groups: Sequence[CauseGroup]) -> list[CauseGroup]:
    """Join `price` with `item.price`, if the relation and its parameter are the same."""
    found: list[CauseGroup] = []
    for some in _by(groups, lambda one: (one.kind, one.tail[-1], one.relation, one.parameter)).values():
        first = min(some, key=lambda one: (len(one.tail), one.tail))
        if len(some) == 1 or len(first.tail) > 1 or _is_by_place(first.relation, first.kind):
            found += some
        else:
            changes = tuple(sorted(id_ for one in some for id_ in one.changes))
            found.append(msgspec.structs.replace(first, changes=changes))
    return found


def _with_consequences(tables: CauseTables, groups: Sequence[CauseGroup]) -> list[CauseGroup]:
    """Move changes to the failure of v2 that all of their pairs have: the body of an error differs, too."""
    failure_of = {
        id_: at
        for at, one in enumerate(groups)
        if one.kind == Kind.STATUS and one.relation == Relation.REPLACED_BY_ERROR
        for id_ in one.changes
    }
    if not failure_of:
        return list(groups)
    failures: dict[str, set[int]] = {}
    for field in tables.sets:
        ids, has_more = ids_of(field)
        found = set[int]() if has_more else {failure_of[id_] for id_ in ids if id_ in failure_of}
        for id_ in ids:
            failures[id_] = failures[id_] & found if id_ in failures else found
    moved: defaultdict[int, list[str]] = defaultdict(list)
    rest: list[tuple[int, CauseGroup]] = []
    for at, one in enumerate(groups):
        of_failure = {id_: min(failures.get(id_, ()), default=None) for id_ in one.changes}
        kept = tuple(id_ for id_, failure in of_failure.items() if failure is None or id_ in failure_of)
        for id_, failure in of_failure.items():
            if failure is not None and id_ not in failure_of:
                moved[failure].append(id_)
        if kept:
            rest.append((at, msgspec.structs.replace(one, changes=kept)))
    return [msgspec.structs.replace(one, consequences=tuple(sorted(moved[at]))) for at, one in rest]


def _by(items: Iterable[_Item], name_of: Callable[[_Item], _Name]) -> dict[_Name, list[_Item]]:
    found: defaultdict[_Name, list[_Item]] = defaultdict(list)
    for item in items:
        found[name_of(item)].append(item)
    return dict(found)
