"""Look for an assignment of array elements, in order or in any order, that leaves only covered differences.

`pair` decides whether two elements may be partners; `removed` and `added` decide whether an element may have none.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

EXHAUSTIVE: Final = 8
"""Up to this number of elements, the search tries every assignment. Above it, it exchanges partners."""


def in_order(
    sizes: tuple[int, int],
    pair: Callable[[int, int], bool],
    removed: Callable[[int], bool],
    added: Callable[[int], bool],
) -> bool:
    """Return whether rules cover some assignment that keeps the order: each element is paired, removed or added."""
    size, size_other = sizes

    @cache
    def rest(index: int, against: int) -> bool:
        if index == size and against == size_other:
            return True
        if index < size and against < size_other and pair(index, against) and rest(index + 1, against + 1):
            return True
        if index < size and removed(index) and rest(index + 1, against):
            return True
        return against < size_other and added(against) and rest(index, against + 1)

    return rest(0, 0)


def one_to_one(
    sizes: tuple[int, int],
    pair: Callable[[int, int], bool],
    removed: Callable[[int], bool],
    added: Callable[[int], bool],
) -> bool:
    """Return whether rules cover some assignment in any order."""
    return (by_trying if max(sizes) <= EXHAUSTIVE else by_exchange)(sizes, pair, removed, added)


def by_trying(
    sizes: tuple[int, int],
    pair: Callable[[int, int], bool],
    removed: Callable[[int], bool],
    added: Callable[[int], bool],
) -> bool:
    """Try every assignment."""
    size, size_other = sizes

    @cache
    def rest(index: int, taken: frozenset[int]) -> bool:
        if index == size:
            return all(against in taken or added(against) for against in range(size_other))
        if removed(index) and rest(index + 1, taken):
            return True
        return any(
            against not in taken and pair(index, against) and rest(index + 1, taken | {against})
            for against in range(size_other)
        )

    nobody: frozenset[int] = frozenset()
    return rest(0, nobody)


def by_exchange(
    sizes: tuple[int, int],
    pair: Callable[[int, int], bool],
    removed: Callable[[int], bool],
    added: Callable[[int], bool],
) -> bool:
    """Look for a perfect matching. Each side gets placeholders as partners for elements that may be removed."""
    size, size_other = sizes

    def fits(index: int, against: int) -> bool:
        if index < size and against < size_other:
            return pair(index, against)
        if index < size:
            return against - size_other == index and removed(index)
        return against >= size_other or (index - size == against and added(against))

    total = size + size_other
    owners: dict[int, int] = {}

    def place(index: int, seen: set[int]) -> bool:
        for against in range(total):
            if against in seen or not fits(index, against):
                continue
            seen.add(against)
            if against not in owners or place(owners[against], seen):
                owners[against] = index
                return True
        return False

    return all(place(index, set()) for index in range(total))
