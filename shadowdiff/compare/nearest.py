"""Pair what is left over between two arrays by likeness, in bounded time.

In: leftover elements of both sides, in order.  Out: pairs of indexes into them.
Holds: past the bound on work the pairing falls back to a shared identifying member, then to position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.sequence import Match, common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare.values import Value

MAX_PRODUCT: Final = 1024
_MAX_MEMBERS: Final = 64


def likeness(one: Value, other: Value) -> int:
    """Score how alike two elements are: equal members weigh most; 0 where they share nothing."""
    if isinstance(one, dict) and isinstance(other, dict):
        if len(one) > _MAX_MEMBERS:
            return 1
        shared = one.keys() & other.keys()
        return sum(4 if one[name] == other[name] else 1 for name in shared)
    if isinstance(one, list) and isinstance(other, list):
        return 1 + 4 * (one[:1] == other[:1]) + 4 * (one[-1:] == other[-1:])
    return 0


def in_order(one: Sequence[Value], other: Sequence[Value]) -> list[Match]:
    """Pair leftover elements between two anchors without crossing."""
    if not one or not other:
        return []
    if len(one) == len(other) == 1 or not _containers(one) or not _containers(other):
        return list(zip(range(len(one)), range(len(other)), strict=False))
    if len(one) * len(other) <= MAX_PRODUCT:
        return _best_in_order(one, other)
    identity = _identity(one, other)
    if identity is not None:
        return common(*identity)
    return list(zip(range(len(one)), range(len(other)), strict=False))


def by_likeness(one: Sequence[Value], other: Sequence[Value]) -> list[Match]:
    """Pair leftover elements of unordered arrays: the most alike first; what shares no value stays alone."""
    if len(one) * len(other) > MAX_PRODUCT:
        identity = _identity(one, other)
        if identity is None:
            return []
        places = {token: index for index, token in enumerate(identity[1])}
        return [(index, places[token]) for index, token in enumerate(identity[0]) if token in places]
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
    """Maximize the sum of likeness over pairs that do not cross."""
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


def _identity(one: Sequence[Value], other: Sequence[Value]) -> tuple[list[int | str], list[int | str]] | None:
    """Return the values of the member that tells elements apart on both sides, preferring the most shared."""
    if not isinstance(one[0], dict) or not isinstance(other[0], dict):
        return None
    best: tuple[int, list[int | str], list[int | str]] | None = None
    for name in sorted(one[0].keys() & other[0].keys())[:_MAX_MEMBERS]:
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
