"""Decide whether two values under a `schema` rule have the same shape.

All values at one place, at any index, form a pool. Each value, and each value inside it, needs a partner of the same
shape in the other side's pool. Therefore an empty array, which fits every shape, never hides a changed type elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.renames import joined, renamed
from shadowdiff.compare.rule_coverage import PAIR_UNITS, Coverage
from shadowdiff.rules.json_values import MISSING, Missing, Value, kind_of, member_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.compare.documents import Documents
    from shadowdiff.compare.finding import Path
    from shadowdiff.compare.renames import Reading
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.compiled import Node

    Pool = Sequence["_Pooled"]
    Clash = tuple[Path, Value | Missing, Value | Missing, Node]
    """A path, both values there, and the rules there."""

_STEP_UNITS: Final = 16
_SOURCES: Final = 64
"""How many objects of v1 are tried to find whether a rename applies to one of v2."""


class ShapeCoverage(Coverage):
    """Decides which differences rules cover, including shapes under `schema` rules."""

    __slots__ = ("_alike_answers",)

    def __init__(self, budget: Budget, documents: Documents | None = None) -> None:
        super().__init__(budget, documents)
        self._alike_answers: dict[tuple[int, int, int], tuple[bool, Value, Value, Node]] = {}

    def covers_by_shape(self, one: Value, other: Value, state: Node) -> bool:
        """Whether two values have the same shape."""
        return self.shape_clash(one, other, None, state) is None

    def shape_clash(self, one: Value, other: Value, path: Path, state: Node) -> Clash | None:
        """Return where two values under a `schema` rule differ in shape; None if their shapes are equal."""
        return self._clash_inside([_Pooled(path, one, state)], [_Pooled(path, other, state)])

    def _clash_inside(self, lefts: Pool, rights: Pool) -> Clash | None:
        if clash := self._pool_clash(_elements(lefts), _elements(rights)):
            return clash
        first: Clash | None = None
        for variant in self._renamed_pools(lefts, rights):
            clash = self._member_clash(lefts, variant)
            if clash is None:
                return None
            first = first or clash
        return first

    def _member_clash(self, lefts: Pool, rights: Pool) -> Clash | None:
        names = dict.fromkeys(
            name for entry in (*lefts, *rights) if isinstance(entry.value, dict) for name in entry.value
        )
        for name in names:
            if clash := self._pool_clash(_members(lefts, name), _members(rights, name)):
                return clash
        return None

    def _renamed_pools(self, lefts: Pool, rights: Pool) -> Iterator[Pool]:
        """Yield v2's pool unchanged, then with each rename that applies to at least one object of v1."""
        yield rights
        renames = {rename.label: rename for entry in lefts for rename in entry.state.effect.renames}
        for rename in renames.values():
            self.budget.spend(_STEP_UNITS * (len(lefts) + len(rights)))
            sources = [
                entry.value
                for entry in lefts
                if isinstance(entry.value, dict) and not isinstance(member_at(entry.value, rename.old), Missing)
            ]
            yield [
                entry._replace(value=renamed(entry.value, rename, sources[:_SOURCES]))
                if isinstance(entry.value, dict)
                and any(rename.label == here.label for here in entry.state.effect.renames)
                else entry
                for entry in rights
            ]

    def _pool_clash(self, lefts: Pool, rights: Pool) -> Clash | None:
        if all(entry.loose for entry in lefts) or all(entry.loose for entry in rights):
            return None
        self.budget.spend(len(lefts) + len(rights))
        if len(lefts) == len(rights) == 1 and self._pooled_covered(lefts[0], rights[0].value):
            return None
        lefts = [entry._replace(loose=entry.loose or self._may_be_removed(entry)) for entry in lefts]
        rights = [entry._replace(loose=entry.loose or self._may_be_added(entry)) for entry in rights]
        if lone := self._lone([entry for entry in lefts if not entry.loose], rights):
            return lone.path, lone.value, rights[0].value, lone.state
        if lone := self._lone([entry for entry in rights if not entry.loose], lefts, swapped=True):
            return lefts[0].path, lefts[0].value, lone.value, lefts[0].state
        return self._clash_inside(lefts, rights)

    def _lone(self, entries: Pool, others: Pool, *, swapped: bool = False) -> _Pooled | None:
        """Return the first value that has no partner of its shape. swapped: whether `entries` are v2's."""
        shapes = {self._shape(entry.value) for entry in others}
        witnesses = list(others)
        for entry in entries:
            if self._shape(entry.value) in shapes:
                continue
            for rank, witness in enumerate(witnesses):
                if self._alike(witness, entry.value) if swapped else self._alike(entry, witness.value):
                    witnesses.insert(0, witnesses.pop(rank))  # the last partner often matches the next value too
                    break
            else:
                return entry
        return None

    def _shape(self, value: Value | Missing) -> int:
        return -1 if isinstance(value, Missing) else self.tokens.shape(value)

    def _may_be_removed(self, entry: _Pooled) -> bool:
        return not isinstance(entry.value, Missing) and bool(self.absence(entry.value, MISSING, entry.state, None))

    def _may_be_added(self, entry: _Pooled) -> bool:
        value = entry.value
        return not isinstance(value, Missing) and bool(self.absence(MISSING, value, entry.state, entry.subset))

    def _pooled_covered(self, entry: _Pooled, other: Value | Missing) -> bool:
        one = entry.value
        if isinstance(one, Missing):
            return isinstance(other, Missing) or bool(self.absence(one, other, entry.state, entry.subset))
        if isinstance(other, Missing):
            return self._may_be_removed(entry)
        return self.covers(one, other, entry.state)

    def _alike(self, entry: _Pooled, other: Value | Missing) -> bool:
        """Whether two values have the same shape; ignores the pools."""
        self.budget.spend(2)
        if self._pooled_covered(entry, other):
            return True
        one, state = entry.value, entry.state
        if isinstance(one, Missing) or isinstance(other, Missing) or kind_of(one) != kind_of(other):
            return False
        if not isinstance(one, (dict, list)):
            return True
        key = (id(one), id(other), id(state))
        known = self._alike_answers.get(key)
        if known is None:
            self.budget.spend(PAIR_UNITS)
            known = self._alike_answers[key] = self._containers_alike(one, other, state), one, other, state
        return known[0]

    def _containers_alike(self, one: Value, other: Value, state: Node) -> bool:
        left, right = _Pooled(None, one, state), _Pooled(None, other, state)
        if isinstance(one, dict) and isinstance(other, dict):
            return any(
                all(
                    self._alike(_Pooled(None, before, joined(state, rename)), after)
                    for rename, before, after in reading.pairs
                )
                and self._members_alike(left, reading)
                for reading in self.readings(one, other, state)
            )
        lefts, rights = _elements([left]), _elements([right])
        if not lefts or not rights:
            return True
        return not (self._lone(lefts, rights) or self._lone(rights, lefts, swapped=True))

    def _members_alike(self, entry: _Pooled, reading: Reading) -> bool:
        one, other = reading.one, reading.other
        left = entry._replace(value=one)
        return (isinstance(one, dict) and isinstance(other, dict)) and all(
            self._alike(_member(left, name), other.get(name, MISSING)) for name in {**one, **other}
        )


class _Pooled(NamedTuple):
    """A value in a pool, and the rules for it.

    subset: the rule that covers additions of v2 to its parent.
    loose: the value is inside a value that the other side may lack, so it can be a partner but does not need one.
    """

    path: Path
    value: Value | Missing
    state: Node
    subset: str | None = None
    loose: bool = False


def _elements(pool: Pool) -> Pool:
    return [
        _Pooled(
            (entry.path, index),
            value,
            entry.state.element(index, len(entry.value)),
            entry.state.effect.subset,
            entry.loose,
        )
        for entry in pool
        if isinstance(entry.value, list)
        for index, value in enumerate(entry.value)
    ]


def _members(pool: Pool, name: str) -> Pool:
    return [_member(entry, name) for entry in pool if isinstance(entry.value, dict)]


def _member(entry: _Pooled, name: str) -> _Pooled:
    value = entry.value.get(name, MISSING) if isinstance(entry.value, dict) else MISSING
    return _Pooled((entry.path, name), value, entry.state.member(name), entry.state.effect.subset, entry.loose)
