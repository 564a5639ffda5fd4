"""Decide which element of v1's array is compared with which element of v2's array, under the array's rules.

If rules apply below the array, first search exactly for an assignment that leaves only covered differences. If there is
no such assignment, choose the alignment with the fewest differences that count.
"""

from __future__ import annotations

from itertools import compress, permutations
from operator import ne
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare.arrays import Aligned, Aligner, as_multiset, by_key, from_pairs, in_sequence, unmatched
from shadowdiff.compare.documents import Documents, may_hold_documents
from shadowdiff.compare.renames import member_under
from shadowdiff.compare.shapes import ShapeCoverage
from shadowdiff.compare.unordered import match_elements
from shadowdiff.rules.json_values import Missing, Value, unlike

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.compare.arrays import Coarse
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.compiled import Key, Node, Rename

Change = tuple[int, "list[str] | None"]
"""The index of two elements that differ, and the names of the members that do, if they are known."""
_FEW: Final = 8


class Alignments:
    """Aligns the arrays of one comparison.

    It has no reference to a `Walker`: a cycle would keep both bodies in memory until the garbage collector runs.
    """

    __slots__ = ("_budget", "_coverage", "_documents")

    def __init__(self, budget: Budget, documents: Documents | None = None) -> None:
        self._budget = budget
        self._documents = documents
        self._coverage: ShapeCoverage | None = None

    @property
    def documents(self) -> Documents:
        """Reads the documents that strings hold."""
        if self._documents is None:
            self._documents = Documents(self._budget)
        return self._documents

    @property
    def coverage(self) -> ShapeCoverage:
        """Decides which differences rules cover; created on demand, because few pairs need this."""
        if self._coverage is None:
            self._coverage = ShapeCoverage(self._budget, self.documents)
        return self._coverage

    def align(self, one: list[Value], other: list[Value], state: Node, aligner: Aligner) -> Aligned | None:
        """Return the alignment of two arrays; None if only the shapes of their elements matter."""
        effect = state.effect
        if not effect.some and _is_barren_below(state):
            aligned = in_sequence(one, other, aligner)
            return (
                aligned
                if aligned.in_place or not self._covered_in_place(one, other, state)
                else from_pairs(one, other, [(at, at) for at in range(len(one))], ([], []), aligner)
            )
        # Without rules that let an element be missing, arrays of unequal length always differ.
        if effect.some or len(one) == len(other) or not _keeps_places(state):
            pairs = self.coverage.assignment(one, other, state)
            if pairs is not None:
                return from_pairs(one, other, pairs, ([], []), aligner)
        if effect.schema:
            return None
        if effect.key:
            return self._by_key(one, other, state, aligner, key=effect.key)
        if not effect.unordered:
            aligned = self._in_sequence(one, other, state, aligner)
        elif _is_barren_below(state):
            aligned = as_multiset(one, other, aligner)
        else:
            matching, _ = match_elements(self.coverage, one, other, state)
            aligned = from_pairs(one, other, matching.pairs(), (matching.free(), matching.free(1)), aligner)
        return aligned

    def _covered_in_place(self, one: list[Value], other: list[Value], state: Node) -> bool:
        """Whether the same documents are in the strings of each pair of elements."""
        length = len(one)
        differing = list(compress(range(length), map(ne, one, other))) if length == len(other) else []
        return (
            bool(differing)
            and may_hold_documents(one[differing[0]], self._budget)
            and all(self.coverage.covers(one[at], other[at], state.element(at, length)) for at in differing)
        )

    def changed_in_place(self, one: list[Value], other: list[Value], state: Node) -> Sequence[Change] | None:
        """Return which elements of arrays of equal length differ, if clearly none was moved or inserted; else None."""
        if not (state.barren or _keeps_places(state)):
            return None
        differing = list(compress(range(len(one)), map(ne, one, other)))
        if len(differing) <= 1:
            return [(index, None) for index in differing] or None
        changes = _isolated(one, other, differing, ruled=not state.barren) if len(differing) <= _FEW else None
        if changes is not None or _is_barren_below(state):
            return changes
        if all(self.coverage.covers(one[at], other[at], state.element(at, len(one))) for at in differing):
            return [(at, None) for at in differing]
        return None

    def _by_key(self, one: list[Value], other: list[Value], state: Node, aligner: Aligner, *, key: Key) -> Aligned:
        """Align elements by key: equal keys first, then keys that rules call equal enough."""
        coverage = self.coverage
        exact = coverage.tokens.exact
        renames = state.element(0, 1).effect.renames
        keys = [_identity(value, key, exact) for value in one]
        keys_other = [_identity(value, key, exact, renames) for value in other]
        pairs = by_key(keys, keys_other, lambda index, against: exact(one[index]) == exact(other[against]))
        rest, rest_other = unmatched(range(len(one)), range(len(other)), pairs)
        for index in [index for index in rest if keys[index] is not None]:
            below = state.element(index, len(one))
            for against in rest_other:
                if keys_other[against] is not None and coverage.has_same_key(one[index], other[against], key, below):
                    pairs.append((index, against))
                    rest.remove(index)
                    rest_other.remove(against)
                    break
        rest = [index for index in rest if keys[index] is None]
        rest_other = [against for against in rest_other if keys_other[against] is None]
        matching, _ = match_elements(
            coverage, [one[index] for index in rest], [other[against] for against in rest_other], state
        )
        pairs += [(rest[index], rest_other[against]) for index, against in matching.pairs()]
        return from_pairs(one, other, pairs, unmatched(rest, rest_other, pairs), aligner)

    def _in_sequence(self, one: list[Value], other: list[Value], state: Node, aligner: Aligner) -> Aligned:
        """Align elements in order if some difference counts: by equal elements, or by the parts that rules leave.

        Return the alignment with fewer differences that count.
        """
        if not _is_barren_below(state):
            coarse, length, length_other = self.coverage.tokens.coarse, len(one), len(other)
            of_sides: tuple[Coarse, Coarse] = (
                lambda index: coarse(one[index], state.element(index, length)),
                lambda index: coarse(other[index], state.element(index, length_other)),
            )
            aligner = msgspec.structs.replace(aligner, coarse=of_sides)
        by_value = in_sequence(one, other, aligner)
        apart = abs(len(one) - len(other))
        if not by_value.moved and not by_value.pairs and len(by_value.removed) + len(by_value.added) == apart:
            return by_value
        uncovered = self._uncovered(by_value, one, other, state)
        if uncovered <= max(1, apart):
            return by_value
        by_rest = in_sequence(one, other, msgspec.structs.replace(aligner, coarsely=True))
        return by_rest if self._uncovered(by_rest, one, other, state) < uncovered else by_value

    def _uncovered(self, aligned: Aligned, one: list[Value], other: list[Value], state: Node) -> int:
        covers, may_stay_alone = self.coverage.covers, self.coverage.may_stay_alone
        return (
            aligned.moved
            + sum(not covers(one[at], other[against], state.element(at, len(one))) for at, against in aligned.pairs)
            + sum(not may_stay_alone(0, one, at, state) for at in aligned.removed)
            + sum(not may_stay_alone(1, other, at, state) for at in aligned.added)
        )


def _keeps_places(state: Node) -> bool:
    """Whether each element can be compared only with the element at its index: no rule covers a missing element."""
    return not state.by_index and not state.element(0, 1).effect.vanishes


def _is_barren_below(state: Node) -> bool:
    """Whether no rule applies inside the elements of an array."""
    return state.barren or (not state.by_index and state.element(0, 1).barren)


def _identity(
    value: Value, key: Key, exact: Callable[[Value], int], renames: Sequence[Rename] = ()
) -> tuple[int | None, ...] | None:
    """Return what identifies an element; None if it has no such members. renames: the names that they have in v2."""
    found = [member_under(value, names, renames) for names in key.by]
    if all(isinstance(part, Missing) for part in found):
        return None
    return tuple(None if isinstance(part, Missing) else exact(part) for part in found)


def _isolated(one: list[Value], other: list[Value], differing: list[int], *, ruled: bool) -> Sequence[Change] | None:
    """Return each differing place with its differing members, if clearly none was moved or inserted; else None.

    This is clear if no two differing places are neighbors, and no differing element of one side is at another differing
    place of the other side. If rules below could hide a move, each element must be an object that has most members in
    common with its counterpart.
    """
    changes: list[Change] = []
    before = -2
    for index in differing:
        if index - before == 1:
            return None
        before = index
        value, against = one[index], other[index]
        names = unlike(value, against) if type(value) is dict and type(against) is dict else None
        if ruled and not (names is not None and type(value) is dict and len(names) * 2 < len(value)):
            return None
        changes.append((index, names))
    for index, place in permutations(differing, 2):
        if one[index] == other[place]:
            return None
    return changes
