"""Align two arrays: which element of v1 is which of v2.

In: both arrays, and a test of equality.  Out: (index, index) of elements that differ in place, (index, None) of
what v2 lacks, (None, index) of what it added; equal elements are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowdiff.compare.values import Value


def align(
    one: list[Value], other: list[Value], equal: Callable[[Value, Value], bool]
) -> Iterator[tuple[int | None, int | None]]:
    """Yield the places where the arrays differ."""
    shortest = min(len(one), len(other))
    start = 0
    while start < shortest and equal(one[start], other[start]):
        start += 1
    end = 0
    while end < shortest - start and equal(one[-1 - end], other[-1 - end]):
        end += 1
    stop, stop_other = len(one) - end, len(other) - end
    for index in range(start, max(stop, stop_other)):
        if index >= stop_other:
            yield index, None
        elif index >= stop:
            yield None, index
        elif not equal(one[index], other[index]):
            yield index, index
