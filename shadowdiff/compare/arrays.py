"""Align two arrays: decide which element of v2 corresponds to which element of v1.

An inserted element counts as one addition, not as a change of each later element. The search always starts from the
same side, so swapping the sides mirrors the alignment. `coverage` decides whether rules cover the differences.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from shadowdiff.compare.sequence import Match, by_likeness, common, equal_pairs, grouped, in_order
from shadowdiff.compare.value_tokens import tokens_of
from shadowdiff.compare.work import Budget
from shadowdiff.rules.json_values import Value

_GALLOP_FROM: Final = 16
Coarse = Callable[[int], Hashable]


class Aligned(msgspec.Struct, gc=False):
    """An alignment of two arrays, without the equal elements that have the same position."""

    pairs: list[Match] = []
    removed: list[int] = []
    added: list[int] = []
    moved: bool = False

    @property
    def in_place(self) -> bool:
        """Whether each element is compared with the element at its index."""
        return not (self.moved or self.removed or self.added) and all(at == against for at, against in self.pairs)

    def mirrored(self) -> Aligned:
        """Return the same alignment with the sides swapped."""
        pairs = [(against, index) for index, against in self.pairs]
        return Aligned(pairs, self.added, self.removed, self.moved)


class Aligner(msgspec.Struct, frozen=True):
    """How an alignment compares values.

    equal: the walk's equality test. token: a hashable token of a value. budget: the work budget of the search. coarse:
    for each side, the token of an element without the parts that rules may cover; None if no rule applies below.
    coarsely: whether only these tokens are used, for arrays whose order matters.
    """

    equal: Callable[[Value, Value], bool]
    token: Callable[[Value], Hashable]
    budget: Budget
    coarse: tuple[Coarse, Coarse] | None = None
    coarsely: bool = False


class _Side(msgspec.Struct):
    """One array, the indexes that are still to be matched, and their tokens."""

    values: list[Value]
    left: list[int]
    coarse: Coarse | None
    tokens: Sequence[Hashable] = ()

    def chosen(self, indexes: Sequence[int]) -> list[Value]:
        return [self.values[index] for index in indexes]

    def tokens_at(self, indexes: Sequence[int]) -> list[Hashable]:
        """Return the tokens without the parts that rules may cover."""
        if self.coarse:
            return list(map(self.coarse, indexes))
        return [self.tokens[bisect_left(self.left, index)] for index in indexes]


def unmatched(left: Iterable[int], right: Iterable[int], matches: Sequence[Match]) -> tuple[list[int], list[int]]:
    """Return the indexes of both sides that are in no match."""
    met, met_other = {index for index, _ in matches}, {against for _, against in matches}
    return [index for index in left if index not in met], [against for against in right if against not in met_other]


def in_sequence(one: list[Value], other: list[Value], aligner: Aligner) -> Aligned:
    """Align arrays whose order matters."""
    if aligner.coarsely:
        return _oriented(_sequence, one, other, (list(range(len(one))), list(range(len(other)))), aligner)
    shortest = min(len(one), len(other))
    start = _agreeing(one, other, shortest, aligner.equal)
    rest = shortest - start
    end = _agreeing(one[len(one) - rest :][::-1], other[len(other) - rest :][::-1], rest, aligner.equal)
    left, right = list(range(start, len(one) - end)), list(range(start, len(other) - end))
    if not left or not right:
        return Aligned(removed=left, added=right)
    if len(left) == len(right):
        differing = [index for index in left if not aligner.equal(one[index], other[index])]
        if len(differing) == 1:
            return Aligned(pairs=[(differing[0], differing[0])])
        if len(differing) * 2 <= len(left):
            aligned = _oriented(_sequence, one, other, (differing, differing), aligner)
            if aligned.moved or _stays(aligned, differing):
                return aligned
    return _oriented(_sequence, one, other, (left, right), aligner)


def _stays(aligned: Aligned, differing: list[int]) -> bool:
    """Whether no pair of differing elements crosses an element that is in place on both sides."""
    removed, added = set(aligned.removed), set(aligned.added)
    stayed = [index for index in differing if index not in removed]
    stayed_other = [index for index in differing if index not in added]
    rank = {index: place for place, index in enumerate(differing)}
    matches = zip(stayed, stayed_other, strict=True)
    return all(abs(index - against) == abs(rank[index] - rank[against]) for index, against in matches)


def as_multiset(one: list[Value], other: list[Value], aligner: Aligner) -> Aligned:
    """Align arrays whose order does not matter."""
    return _oriented(_multiset, one, other, (list(range(len(one))), list(range(len(other)))), aligner)


def by_key(
    keys: Sequence[Hashable | None], keys_other: Sequence[Hashable | None], same: Callable[[int, int], bool]
) -> list[Match]:
    """Pair the elements with equal keys in order; an element without a key (None) gets no partner.

    same: whether two elements are equal, to choose between elements that share a key.
    """
    places = grouped((key, against) for against, key in enumerate(keys_other) if key is not None)
    pairs: list[Match] = []
    shared: list[int] = []
    for index, key in enumerate(keys):
        theirs = places.get(key) if key is not None else None
        if not theirs:
            continue
        equal = next((against for against in theirs if same(index, against)), None) if len(theirs) > 1 else theirs[0]
        if equal is None:
            shared.append(index)
        else:
            theirs.remove(equal)
            pairs.append((index, equal))
    pairs += [(index, places[keys[index]].pop(0)) for index in shared if places[keys[index]]]
    return sorted(pairs)


def from_pairs(
    one: list[Value], other: list[Value], pairs: Sequence[Match], loose: tuple[list[int], list[int]], aligner: Aligner
) -> Aligned:
    """Return the alignment of these pairs; pair the remaining `loose` elements by similarity."""
    left, right = loose
    near = by_likeness([one[index] for index in left], [other[index] for index in right], aligner.budget)
    found = sorted([*pairs, *((left[index], right[against]) for index, against in near)])
    differing = [pair for pair in found if not aligner.equal(one[pair[0]], other[pair[1]])]
    return Aligned(differing, *unmatched(range(len(one)), range(len(other)), found), not rising(found))


def _agreeing(one: list[Value], other: list[Value], bound: int, equal: Callable[[Value, Value], bool]) -> int:
    """Count the equal elements at the start; compare slices of doubling length, so that long arrays run at C speed."""
    start, step = 0, _GALLOP_FROM
    while start < bound:
        stop = min(bound, start + step)
        if stop - start > 1 and equal(one[start:stop], other[start:stop]):
            start, step = stop, step * 2
        elif stop - start == 1:
            if not equal(one[start], other[start]):
                return start
            start += 1
        else:
            step = (stop - start) // 2
            bound = stop
    return start


def _oriented(
    search: Callable[[_Side, _Side, Aligner], Aligned],
    one: list[Value],
    other: list[Value],
    left: tuple[list[int], list[int]],
    aligner: Aligner,
) -> Aligned:
    """Search from the side that sorts first, so that swapping the sides mirrors the result."""
    aligner.budget.spend(4 * (len(left[0]) + len(left[1])))
    coarse, coarse_other = aligner.coarse or (None, None)
    here, there = _Side(one, left[0], coarse), _Side(other, left[1], coarse_other)
    if aligner.coarsely and aligner.coarse:
        here.tokens, there.tokens = here.tokens_at(left[0]), there.tokens_at(left[1])
    else:
        here.tokens, there.tokens = tokens_of(here.chosen(left[0]), there.chosen(left[1]), aligner.token)
    if _sort_key(here, aligner) > _sort_key(there, aligner):
        return search(there, here, aligner).mirrored()
    return search(here, there, aligner)


def _sort_key(side: _Side, aligner: Aligner) -> tuple[int, str]:
    return len(side.left), repr([aligner.token(value) for value in side.chosen(side.left[:_GALLOP_FROM])])


def _sequence(here: _Side, there: _Side, aligner: Aligner) -> Aligned:
    if not aligner.coarsely and len(here.left) == len(there.left) and Counter(here.tokens) == Counter(there.tokens):
        return Aligned(moved=True)
    matches = common(here.tokens, there.tokens, aligner.budget)
    anchors = [(here.left[index], there.left[against]) for index, against in matches]
    found: list[Match] = list(anchors) if aligner.coarsely else []
    if aligner.coarse and not aligner.coarsely:
        for left, right in _gaps(here, there, anchors):
            near = common(here.tokens_at(left), there.tokens_at(right), aligner.budget)
            found += [(left[index], right[against]) for index, against in near]
        anchors = sorted(anchors + found)
    left, right = unmatched(here.left, there.left, anchors)
    both = equal_pairs(here.tokens_at(left), there.tokens_at(right))
    moved = [(left[index], right[against]) for index, against in both]  # both sides have them in different order
    aligned = Aligned(moved=bool(moved))
    for left, right in _gaps(here, there, anchors):
        rest, rest_other = unmatched(left, right, moved)
        near = in_order(here.chosen(rest), there.chosen(rest_other), aligner.budget)
        pairs = [(rest[index], rest_other[against]) for index, against in near]
        found += pairs
        rest, rest_other = unmatched(rest, rest_other, pairs)
        aligned.removed += rest
        aligned.added += rest_other
    aligned.pairs = _differing(here, there, found + moved, aligner)
    return aligned


def _differing(here: _Side, there: _Side, found: Iterable[Match], aligner: Aligner) -> list[Match]:
    return sorted(pair for pair in found if not aligner.equal(here.values[pair[0]], there.values[pair[1]]))


def _gaps(here: _Side, there: _Side, anchors: Sequence[Match]) -> list[tuple[list[int], list[int]]]:
    """Return the unmatched elements between successive anchors, if either side has any."""
    gaps: list[tuple[list[int], list[int]]] = []
    at = at_other = 0
    for index, against in [*anchors, (len(here.values), len(there.values))]:
        end, end_other = bisect_left(here.left, index, at), bisect_left(there.left, against, at_other)
        if end > at or end_other > at_other:
            gaps.append((here.left[at:end], there.left[at_other:end_other]))
        at, at_other = end + 1, end_other + 1
    return gaps


def _multiset(here: _Side, there: _Side, aligner: Aligner) -> Aligned:
    exact = [(here.left[index], there.left[against]) for index, against in equal_pairs(here.tokens, there.tokens)]
    rest, rest_other = unmatched(here.left, there.left, exact)
    near = by_likeness(here.chosen(rest), there.chosen(rest_other), aligner.budget) if rest and rest_other else []
    found = [(rest[index], rest_other[against]) for index, against in near]
    differing = _differing(here, there, found, aligner)
    return Aligned(differing, *unmatched(rest, rest_other, found), not rising(exact + found))


def rising(matches: Sequence[Match]) -> bool:
    """Whether pairs have the same order on both sides."""
    order = [against for _, against in sorted(matches)]
    return all(before < after for before, after in pairwise(order))
