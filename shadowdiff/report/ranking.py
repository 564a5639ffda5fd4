"""Merge rankings that lie in several shards.

In: what `Top` and `Scores` answer per shard.  Out: names in order of what their scores come to together.
Holds: exact, not near: a name that no shard ranked high enough to be seen here can come to no more than a bound that
follows from the last scores seen, and only names at or above that bound are given as certain.
Source: R. Fagin, A. Lotem, M. Naor, Optimal aggregation algorithms for middleware (2001), the threshold algorithm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

How = Literal["sum", "greatest", "least"]
OTHER: Final = "_other"


def together(scores: Sequence[float | None], how: How) -> float | None:
    """Return what one name's scores in all shards come to; None where it has none."""
    known = [score for score in scores if score is not None]
    if not known:
        return None
    return sum(known) if how == "sum" else max(known) if how == "greatest" else min(known)


def names_of(tops: Sequence[Sequence[tuple[str, float]]]) -> list[str]:
    """Return every name in the shards' rankings, once, without what stands for the overflow."""
    found = dict.fromkeys(name for top in tops for name, _ in top)
    found.pop(OTHER, None)
    return list(found)


def bound(tops: Sequence[Sequence[tuple[str, float]]], n: int, how: How) -> float:
    """Return what a name outside the first `n` of every shard can come to at most."""
    last = [top[-1][1] for top in tops if len(top) >= n]
    if not last:
        return float("-inf")
    return sum(last) if how == "sum" else max(last)
