"""Pair the elements of two sequences in bounded time: first a common subsequence, then the rest by similarity.

If few edits separate the sequences, the common subsequence is the longest one (Myers' greedy search). Otherwise its
anchors are tokens that occur once on each side (patience diff), so repeated tokens cannot mislead it. If there are too
many elements to compare each with each, a shared identifying member and then the position replace similarity.
Source: E. Myers, An O(ND) difference algorithm and its variations, 1986.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from shadowdiff.compare.work import Budget

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from shadowdiff.rules.json_values import Value

Match = tuple[int, int]
K = TypeVar("K")
V = TypeVar("V")
MAX_EDITS: Final = 256
MAX_STEPS: Final = 400_000
_GAP_EDITS: Final = 32
MAX_PRODUCT: Final = 1024
_LIKENESS_UNITS: Final = 6
_MAX_MEMBERS: Final = 64


def common(one: Sequence[Hashable], other: Sequence[Hashable], budget: Budget) -> list[Match]:
    """Return the indexes of a common subsequence: the longest common subsequence if few edits separate the sequences.

    The search first skips tokens that only one side has, so replaced elements cost almost nothing.
    """
    budget.spend(len(one) + len(other))
    there, here = set(other), set(one)
    left = [index for index, token in enumerate(one) if token in there]
    right = [index for index, token in enumerate(other) if token in here]
    found = _match([one[index] for index in left], [other[index] for index in right], budget)
    return [(left[index], right[against]) for index, against in found]


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return the values of each key in order."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def equal_pairs(tokens: Sequence[Hashable], tokens_other: Sequence[Hashable]) -> list[Match]:
    """Pair equal tokens, wherever they are: the first with the first."""
    places = grouped((token, index) for index, token in reversed(list(enumerate(tokens_other))))
    return [(index, places[token].pop()) for index, token in enumerate(tokens) if places.get(token)]


def mirrored_common(one: Sequence[str], other: Sequence[str], budget: Budget) -> list[Match]:
    """Return the same result, but always search from the same side, so that swapping the sides mirrors the result."""
    if (len(one), list(one)) > (len(other), list(other)):
        return [(index, against) for against, index in common(other, one, budget)]
    return common(one, other, budget)


def _match(one: Sequence[Hashable], other: Sequence[Hashable], budget: Budget) -> list[Match]:
    found = _shortest_edit(one, other, MAX_EDITS, MAX_STEPS, budget)
    if found is not None:
        return found
    matches: list[Match] = []
    start = start_other = 0
    for stop, stop_other in [*_anchors(one, other), (len(one), len(other))]:
        gap = _shortest_edit(one[start:stop], other[start_other:stop_other], _GAP_EDITS, MAX_STEPS // 100, budget)
        matches += [(start + index, start_other + against) for index, against in gap or []]
        if stop < len(one):
            matches.append((stop, stop_other))
        start, start_other = stop + 1, stop_other + 1
    return matches


def _anchors(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Match]:
    """Return the longest increasing sequence of tokens that occur once on each side."""
    counts, counts_other = Counter(one), Counter(other)
    places = {token: index for index, token in enumerate(other) if counts_other[token] == 1}
    unique = [(index, places[token]) for index, token in enumerate(one) if counts[token] == 1 and token in places]
    tails: list[int] = []
    tail_at: list[int] = []
    before: list[int] = []
    for position, (_, against) in enumerate(unique):
        length = bisect_left(tails, against)
        before.append(tail_at[length - 1] if length else -1)
        if length == len(tails):
            tails.append(against)
            tail_at.append(position)
        else:
            tails[length], tail_at[length] = against, position
    run: list[Match] = []
    position = tail_at[-1] if tail_at else -1
    while position >= 0:
        run.append(unique[position])
        position = before[position]
    return run[::-1]


def _shortest_edit(
    one: Sequence[Hashable], other: Sequence[Hashable], max_edits: int, max_steps: int, budget: Budget
) -> list[Match] | None:
    """Return the matches of a shortest edit script; None if that takes too many edits or steps."""
    length, length_other = len(one), len(other)
    start = 0
    while start < length and start < length_other and one[start] == other[start]:
        start += 1
    if start in (length, length_other):
        return [(index, index) for index in range(start)]
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    steps = 0
    for edits in range(min(max_edits, length + length_other) + 1):
        budget.spend(1 + edits)
        trace.append(furthest.copy())
        begun_steps = steps
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
            reach = begun = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            against = reach - diagonal
            while reach < length and against < length_other and one[reach] == other[against]:
                reach += 1
                against += 1
            steps += reach - begun
            furthest[diagonal] = reach
            if reach >= length and against >= length_other:
                return _backtrack(trace, length, length_other)
        budget.spend((steps - begun_steps) // 8)
        if steps > max_steps:
            return None
    return None


def _backtrack(trace: list[dict[int, int]], reach: int, against: int) -> list[Match]:
    matches: list[Match] = []
    for edits in range(len(trace) - 1, -1, -1):
        furthest = trace[edits]
        diagonal = reach - against
        down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
        came = diagonal + 1 if down else diagonal - 1
        before = furthest[came]
        before_other = before - came
        while reach > before and against > before_other and reach > 0 and against > 0:
            reach -= 1
            against -= 1
            matches.append((reach, against))
        reach, against = before, before_other
    return matches[::-1]


def likeness(one: Value, other: Value) -> int:
    """Return the similarity of two elements: equal members weigh most; 0 if the elements have no common value."""
    if isinstance(one, dict) and isinstance(other, dict):
        if len(one) > _MAX_MEMBERS:
            return 1
        shared = one.keys() & other.keys()
        return sum(4 if one[name] == other[name] else 1 for name in shared)
    if isinstance(one, list) and isinstance(other, list):
        return 1 + 4 * (one[:1] == other[:1]) + 4 * (one[-1:] == other[-1:])
    return 0


def in_order(one: Sequence[Value], other: Sequence[Value], budget: Budget) -> list[Match]:
    """Pair the unmatched elements between two anchors without crossing pairs."""
    by_index = list(zip(range(len(one)), range(len(other)), strict=False))
    if len(one) == len(other) == 1 or not (_containers(one) and _containers(other)):
        return by_index
    if len(one) * len(other) <= MAX_PRODUCT:
        budget.spend(_LIKENESS_UNITS * len(one) * len(other))
        return _best_in_order(one, other)
    identity = _identity(one, other, budget)
    return by_index if identity is None else common(*identity, budget)


def by_likeness(one: Sequence[Value], other: Sequence[Value], budget: Budget | None = None) -> list[Match]:
    """Pair unmatched elements of unordered arrays, most similar first; without a common value they stay unpaired."""
    budget = budget or Budget()
    if len(one) * len(other) > MAX_PRODUCT:
        identity = _identity(one, other, budget)
        return equal_pairs(*identity) if identity else []
    budget.spend(_LIKENESS_UNITS * len(one) * len(other))
    scored = [
        (-likeness(value, against), index, index_other)
        for index, value in enumerate(one)
        for index_other, against in enumerate(other)
    ]
    taken: set[int] = set()
    taken_other: set[int] = set()
    pairs: list[Match] = []
    for score, index, index_other in sorted(scored):
        if score <= -4 and index not in taken and index_other not in taken_other:  # noqa: PLR2004
            taken.add(index)
            taken_other.add(index_other)
            pairs.append((index, index_other))
    return pairs


def _containers(values: Sequence[Value]) -> bool:
    return any(isinstance(value, (dict, list)) for value in values)


def _best_in_order(one: Sequence[Value], other: Sequence[Value]) -> list[Match]:
    """Maximize the total similarity of pairs that do not cross."""
    width = len(other) + 1
    scores = [[likeness(value, against) for against in other] for value in one]
    best = [[0] * width for _ in range(len(one) + 1)]
    for index in range(len(one) - 1, -1, -1):
        row, below, score = best[index], best[index + 1], scores[index]
        for against in range(len(other) - 1, -1, -1):
            paired = below[against + 1] + score[against] if score[against] else 0
            row[against] = max(paired, below[against], row[against + 1])
    pairs: list[Match] = []
    index = against = 0
    while index < len(one) and against < len(other):
        score = scores[index][against]
        if score and best[index][against] == best[index + 1][against + 1] + score:
            pairs.append((index, against))
            index, against = index + 1, against + 1
        elif best[index][against] == best[index + 1][against]:
            index += 1
        else:
            against += 1
    return pairs


def _identity(
    one: Sequence[Value], other: Sequence[Value], budget: Budget
) -> tuple[list[int | str], list[int | str]] | None:
    """Return the values of the member that identifies elements on both sides, preferably with most common values."""
    if not isinstance(one[0], dict) or not isinstance(other[0], dict):
        return None
    best: tuple[int, list[int | str], list[int | str]] | None = None
    for name in sorted(one[0].keys() & other[0].keys())[:_MAX_MEMBERS]:
        budget.spend((len(one) + len(other)) // 4)
        left, right = _unique(one, name), _unique(other, name)
        if left is None or right is None:
            continue
        shared = len(set(left) & set(right))
        if shared * 2 >= min(len(left), len(right)) and (best is None or shared > best[0]):
            best = shared, left, right
    return None if best is None else best[1:]


def _unique(values: Sequence[Value], name: str) -> list[int | str] | None:
    found = [value.get(name) for value in values if isinstance(value, dict)]
    known = [value for value in found if type(value) is int or type(value) is str]
    return known if len(set(known)) == len(values) else None
