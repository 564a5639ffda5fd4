"""A long common subsequence of two sequences of tokens, in bounded time.

In: two sequences of hashable tokens.  Out: pairs of indexes, rising on both sides, of equal tokens.
Holds: never quadratic; right under repeats as long as few edits lie between the sequences (Myers' greedy search),
and where many do, still anchored on tokens that occur once on each side (patience), which repeats cannot mislead.
Source: E. Myers, An O(ND) difference algorithm and its variations, 1986.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Match = tuple[int, int]

MAX_EDITS: Final = 256
MAX_STEPS: Final = 400_000
_GAP_EDITS: Final = 32


def common(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Match]:
    """Return matching indexes of a common subsequence, the longest where few edits part the sequences.

    Tokens of one side alone cannot match, so they are left out beforehand: a thousand replaced elements between
    equal ones cost nothing.
    """
    there, here = set(other), set(one)
    left = [index for index, token in enumerate(one) if token in there]
    right = [index for index, token in enumerate(other) if token in here]
    found = _match([one[index] for index in left], [other[index] for index in right])
    return [(left[index], right[against]) for index, against in found]


def _match(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Match]:
    found = _shortest_edit(one, other, MAX_EDITS, MAX_STEPS)
    if found is not None:
        return found
    matches: list[Match] = []
    start = start_other = 0
    for stop, stop_other in [*_anchors(one, other), (len(one), len(other))]:
        gap = _shortest_edit(one[start:stop], other[start_other:stop_other], _GAP_EDITS, MAX_STEPS // 100) or []
        matches += [(start + index, start_other + against) for index, against in gap]
        if stop < len(one):
            matches.append((stop, stop_other))
        start, start_other = stop + 1, stop_other + 1
    return matches


def _anchors(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[Match]:
    """Return the longest rising run of tokens that occur once on each side."""
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
    one: Sequence[Hashable], other: Sequence[Hashable], max_edits: int, max_steps: int
) -> list[Match] | None:
    """Return the matches of a shortest edit script; None past the bounds."""
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
        trace.append(furthest.copy())
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
