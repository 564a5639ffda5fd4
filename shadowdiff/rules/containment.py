"""Find the queries that select everything that another query selects.

All outer queries are checked together, from the last segment of the inner query to its first. So the work is at most
the number of inner segments times the number of outer segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.rules.automaton import Positions, bits
from shadowdiff.rules.jsonpath import Index, Slice, Wildcard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.rules.jsonpath import Query, Segment


class Containment:
    """The compiled outer queries."""

    def __init__(self, queries: Sequence[Query]) -> None:
        at = Positions(queries)
        self._at = at
        self._query_of = {start: number for number, start in enumerate(at.starts)}
        self._starts, self._ends, self._wild = at.mask(at.starts), at.mask(at.ends), at.having(Wildcard())
        self._all_elements = at.having(Slice(None, None, 1)) | at.having(Slice(0, None, 1))

    def containing(self, inner: Query) -> list[int]:
        """Return the indexes of the queries that select every place of `inner`, or a place above it."""
        below = self._ends
        for segment in reversed(inner):
            below = self._before(segment, below)
        return sorted(self._query_of[start] for start in bits(below & self._starts))

    def _before(self, segment: Segment, below: int) -> int:
        """Return the positions that contain `segment` and its successors.  below: those that contain the successors."""
        onward = below >> 1
        found = (self._at.descendant & below) | (self._wide(segment) & onward)
        if not segment.descendant:
            return found | self._ends
        # A plain segment contains a descendant segment only if it selects every child, and its successors contain both
        # the direct children and the deeper nodes. Consecutive segments of this kind are processed by doubling.
        found = (found & self._at.descendant) | self._ends
        runs, length = self._wild & ~self._at.descendant & onward, 1
        while runs:
            found |= runs & (found >> length)
            runs &= runs >> length
            length *= 2
        return found

    def _wide(self, segment: Segment) -> int:
        """Return the positions whose selectors select everything that `segment` selects."""
        found = -1
        for selector in segment.selectors:
            elements = self._all_elements if isinstance(selector, (Index, Slice)) else 0
            found &= self._wild | self._at.having(selector) | elements
        return found


def contains(outer: Query, inner: Query) -> bool:
    """Return whether `outer` selects every place that `inner` selects, or a place above it."""
    return bool(Containment([outer]).containing(inner))
