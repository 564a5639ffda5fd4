"""Align two arrays: which element of v1 is which of v2.

In: both arrays, a test of equality, tokens, and coarse forms where rules hold below.
Out: pairs to look into, what v2 lacks, what it added, and whether equal elements stand in another order.
Holds: an inserted element is one addition, not a thousand changes; never quadratic; swapping the sides mirrors the
alignment, since the search itself always runs from the same side.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Final

import msgspec

from shadowdiff.compare.nearest import by_likeness, in_order
from shadowdiff.compare.sequence import Match, common
from shadowdiff.compare.tokens import tokens_of
from shadowdiff.compare.values import Value

_GALLOP_FROM: Final = 16


class Aligned(msgspec.Struct, gc=False):
    """How two arrays lie against each other; equal elements in place are left out."""

    pairs: list[Match] = []
    removed: list[int] = []
    added: list[int] = []
    moved: bool = False

    def mirrored(self) -> Aligned:
        """Return the same with the sides swapped."""
        pairs = [(against, index) for index, against in self.pairs]
        return Aligned(pairs, self.added, self.removed, self.moved)


class Aligner(msgspec.Struct, frozen=True):
    """What an alignment needs to know of the values.

    equal: the walk's own test.  token: a hashable stand-in.
    coarse, coarse_other: the stand-in of an element without what rules may cover; None where no rule holds below.
    fits: whether two elements differ by nothing that counts.
    """

    equal: Callable[[Value, Value], bool]
    token: Callable[[Value], Hashable]
    coarse: Callable[[int], Hashable] | None
    coarse_other: Callable[[int], Hashable] | None
    fits: Callable[[int, int], bool]

    def mirrored(self) -> Aligner:
        """Return the same with the sides swapped."""
        equal, fits = self.equal, self.fits
        return Aligner(
            lambda one, other: equal(other, one),
            self.token,
            self.coarse_other,
            self.coarse,
            lambda index, against: fits(against, index),
        )


class _Side(msgspec.Struct):
    """One array, the indexes that are still to be matched, and their tokens."""

    values: list[Value]
    left: list[int]
    tokens: Sequence[Hashable]

    def chosen(self, places: Sequence[int]) -> list[Value]:
        return [self.values[place] for place in places]


def in_sequence(one: list[Value], other: list[Value], aligner: Aligner) -> Aligned:
    """Align arrays whose order matters."""
    start, end = _trim(one, other, aligner.equal)
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
    """Whether no element of those that differ in place was found beyond one that stands in place on both sides."""
    removed, added = set(aligned.removed), set(aligned.added)
    stayed = [index for index in differing if index not in removed]
    stayed_other = [index for index in differing if index not in added]
    rank = {index: place for place, index in enumerate(differing)}
    matches = zip(stayed, stayed_other, strict=True)
    return all(abs(index - against) == abs(rank[index] - rank[against]) for index, against in matches)


def as_multiset(one: list[Value], other: list[Value], aligner: Aligner) -> Aligned:
    """Align arrays whose order does not matter."""
    return _oriented(_multiset, one, other, (list(range(len(one))), list(range(len(other)))), aligner)


def by_key(one: list[Value], other: list[Value], key: Callable[[Value], Hashable | None], aligner: Aligner) -> Aligned:
    """Align elements of the same key; what has no key is aligned as a multiset."""
    places: dict[Hashable, list[int]] = {}
    for index, value in enumerate(other):
        token = key(value)
        if token is not None:
            places.setdefault(token, []).append(index)
    for found in places.values():
        found.reverse()
    matches: list[Match] = []
    for index, value in enumerate(one):
        token = key(value)
        if token is not None and places.get(token):
            matches.append((index, places[token].pop()))
    met, met_other = {index for index, _ in matches}, {against for _, against in matches}
    rest = [index for index in range(len(one)) if index not in met]
    rest_other = [index for index in range(len(other)) if index not in met_other]
    loose = [index for index in rest if key(one[index]) is None]
    loose_other = [index for index in rest_other if key(other[index]) is None]
    aligned = Aligned()
    if loose and loose_other:
        aligned = _oriented(_multiset, one, other, (loose, loose_other), aligner)
    else:
        aligned.removed, aligned.added = loose, loose_other
    aligned.removed = sorted({*aligned.removed, *rest}.difference(loose).union(aligned.removed))
    aligned.added = sorted({*aligned.added, *rest_other}.difference(loose_other).union(aligned.added))
    aligned.moved = aligned.moved or not _rising(matches)
    aligned.pairs += [match for match in matches if not aligner.equal(one[match[0]], other[match[1]])]
    aligned.pairs.sort()
    return aligned


def _trim(one: list[Value], other: list[Value], equal: Callable[[Value, Value], bool]) -> tuple[int, int]:
    """Return how many elements agree from the start and, of the rest, from the end."""
    shortest = min(len(one), len(other))
    start = _agreeing(one, other, shortest, equal)
    rest = shortest - start
    if not rest:
        return start, 0
    tail, tail_other = one[len(one) - rest :], other[len(other) - rest :]
    tail.reverse()
    tail_other.reverse()
    return start, _agreeing(tail, tail_other, rest, equal)


def _agreeing(one: list[Value], other: list[Value], bound: int, equal: Callable[[Value, Value], bool]) -> int:
    """Count the elements that agree from the start: by slices that double, so that long arrays pass at C speed."""
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
    """Search from the side that comes first in an order of its own, so that swapped sides give the mirror image."""
    values, values_other = [one[index] for index in left[0]], [other[index] for index in left[1]]
    tokens, tokens_other = tokens_of(values, values_other, aligner.token)
    here, there = _Side(one, left[0], tokens), _Side(other, left[1], tokens_other)
    if (len(tokens), repr(tokens[:_GALLOP_FROM])) > (len(tokens_other), repr(tokens_other[:_GALLOP_FROM])):
        return search(there, here, aligner.mirrored()).mirrored()
    return search(here, there, aligner)


def _sequence(here: _Side, there: _Side, aligner: Aligner) -> Aligned:
    if len(here.left) == len(there.left) and Counter(here.tokens) == Counter(there.tokens):
        return Aligned(moved=True)
    matches = common(here.tokens, there.tokens)
    anchors = [(here.left[index], there.left[against]) for index, against in matches]
    found: list[Match] = []
    if aligner.coarse is not None and aligner.coarse_other is not None:
        for left, right in _gaps(here, there, anchors):
            forms, forms_other = list(map(aligner.coarse, left)), list(map(aligner.coarse_other, right))
            found += [(left[index], right[against]) for index, against in common(forms, forms_other)]
        anchors = sorted(anchors + found)
    moved = _moved(here, there, anchors, aligner)
    taken, taken_other = {index for index, _ in moved}, {against for _, against in moved}
    aligned = Aligned(moved=bool(moved))
    for left, right in _gaps(here, there, anchors):
        rest = [index for index in left if index not in taken]
        rest_other = [index for index in right if index not in taken_other]
        pairs = [
            (rest[index], rest_other[against])
            for index, against in in_order(here.chosen(rest), there.chosen(rest_other))
        ]
        found += pairs
        met, met_other = {index for index, _ in pairs}, {against for _, against in pairs}
        aligned.removed += [index for index in rest if index not in met]
        aligned.added += [index for index in rest_other if index not in met_other]
    found += moved
    aligned.pairs = sorted(pair for pair in found if not aligner.equal(here.values[pair[0]], there.values[pair[1]]))
    return aligned


def _gaps(here: _Side, there: _Side, anchors: Sequence[Match]) -> list[tuple[list[int], list[int]]]:
    """Return what is still to be matched between one anchor and the next, where either side has something."""
    gaps: list[tuple[list[int], list[int]]] = []
    at = at_other = 0
    for index, against in [*anchors, (len(here.values), len(there.values))]:
        left: list[int] = []
        right: list[int] = []
        while at < len(here.left) and here.left[at] < index:
            left.append(here.left[at])
            at += 1
        while at_other < len(there.left) and there.left[at_other] < against:
            right.append(there.left[at_other])
            at_other += 1
        at += 1
        at_other += 1
        if left or right:
            gaps.append((left, right))
    return gaps


def _moved(here: _Side, there: _Side, anchors: Sequence[Match], aligner: Aligner) -> list[Match]:
    """Return the elements that stand on both sides, but not in the common order."""
    met, met_other = {index for index, _ in anchors}, {against for _, against in anchors}
    left = [place for place, index in enumerate(here.left) if index not in met]
    right = [place for place, index in enumerate(there.left) if index not in met_other]
    tokens: list[Hashable] = [here.tokens[place] for place in left]
    tokens_other: list[Hashable] = [there.tokens[place] for place in right]
    if aligner.coarse is not None and aligner.coarse_other is not None:
        tokens = [aligner.coarse(here.left[place]) for place in left]
        tokens_other = [aligner.coarse_other(there.left[place]) for place in right]
    return [(here.left[left[i]], there.left[right[j]]) for i, j in _bucketed(tokens, tokens_other)]


def _bucketed(tokens: Sequence[Hashable], tokens_other: Sequence[Hashable]) -> list[Match]:
    """Pair equal tokens, the first with the first."""
    places: dict[Hashable, list[int]] = {}
    for index in range(len(tokens_other) - 1, -1, -1):
        places.setdefault(tokens_other[index], []).append(index)
    return [(index, places[token].pop()) for index, token in enumerate(tokens) if places.get(token)]


def _multiset(here: _Side, there: _Side, aligner: Aligner) -> Aligned:
    exact = [(here.left[index], there.left[against]) for index, against in _bucketed(here.tokens, there.tokens)]
    found: list[Match] = []
    rest, rest_other = _rest(here, exact, there)
    if rest and rest_other and aligner.coarse is not None and aligner.coarse_other is not None:
        found += _coarsely(rest, rest_other, aligner)
        rest, rest_other = _rest(here, exact + found, there)
    near = by_likeness(here.chosen(rest), there.chosen(rest_other)) if rest and rest_other else []
    found += [(rest[index], rest_other[against]) for index, against in near]
    rest, rest_other = _rest(here, exact + found, there)
    pairs = sorted(pair for pair in found if not aligner.equal(here.values[pair[0]], there.values[pair[1]]))
    return Aligned(pairs, rest, rest_other, not _rising(exact + found))


def _rest(here: _Side, matches: Sequence[Match], there: _Side) -> tuple[list[int], list[int]]:
    met, met_other = {index for index, _ in matches}, {against for _, against in matches}
    return [index for index in here.left if index not in met], [index for index in there.left if index not in met_other]


def _coarsely(left: Sequence[int], right: Sequence[int], aligner: Aligner) -> list[Match]:
    """Pair elements of equal coarse form, those first that differ by nothing that counts."""
    if aligner.coarse is None or aligner.coarse_other is None:
        return []
    buckets: dict[Hashable, tuple[list[int], list[int]]] = {}
    for index in left:
        buckets.setdefault(aligner.coarse(index), ([], []))[0].append(index)
    for index in right:
        form = aligner.coarse_other(index)
        if form in buckets:
            buckets[form][1].append(index)
    found: list[Match] = []
    for mine, theirs in buckets.values():
        for index in mine:
            fitting = next((against for against in theirs if aligner.fits(index, against)), None)
            if fitting is not None:
                theirs.remove(fitting)
                found.append((index, fitting))
    return found


def _rising(matches: Sequence[Match]) -> bool:
    order = [against for _, against in sorted(matches)]
    return all(before < after for before, after in itertools.pairwise(order))
