"""How long v1 and v2 take, side by side, with an interval for the difference of each quantile.

In: durations counted in buckets, of both sides.  Out: `LatencyComparison`.
Holds: pure. The interval of a quantile follows from how many durations may lie above it: that count is binomial, so
that the same sequence bounds it as bounds the verdict's ratio, at all looks together. A bucket's width is part of the
interval, which is therefore a little too wide and never too narrow. The two sides' intervals are at half the level
each, so that the difference is at the whole one whatever the dependence between them.
v1's duration is what its recorder measured; v2's is what asking it from here took, connection included and the wait for
a turn left out: some of it is the path's and not v2's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict.histogram import quantile_ms, upper_ms
from shadowdiff.verdict.sequence import evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUANTILES: Final = (0.5, 0.9, 0.99)
ALPHA: Final = 0.05
MEASURED: Final = (
    "v1: as its recorder measured it, beside v1; v2: from asking it until its last byte, seen from shadowdiff, so "
    "that the network between the two is in it"
)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value lies; None where nothing bounds it yet."""

    lower_ms: float | None
    upper_ms: float | None


class QuantileComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One quantile of both sides; `difference` is v2 less v1."""

    quantile: float
    primary_ms: float
    candidate_ms: float
    difference: Span


class LatencyComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of one route."""

    route: str
    primary: int
    candidate: int
    quantiles: tuple[QuantileComparison, ...]


def compare_latency(
    route: str, primary: Mapping[int, int], candidate: Mapping[int, int], alpha: float = ALPHA
) -> LatencyComparison | None:
    """Return both sides' quantiles and their differences; None where a side has no durations."""
    rows = [_quantile(primary, candidate, quantile, alpha) for quantile in QUANTILES]
    quantiles = tuple(row for row in rows if row is not None)
    if not quantiles:
        return None
    return LatencyComparison(
        route=route, primary=sum(primary.values()), candidate=sum(candidate.values()), quantiles=quantiles
    )


def _quantile(
    primary: Mapping[int, int], candidate: Mapping[int, int], quantile: float, alpha: float
) -> QuantileComparison | None:
    ours, theirs = quantile_ms(primary, quantile), quantile_ms(candidate, quantile)
    if ours is None or theirs is None:
        return None
    before, after = span_of(primary, quantile, alpha / 2), span_of(candidate, quantile, alpha / 2)
    return QuantileComparison(
        quantile=quantile,
        primary_ms=ours,
        candidate_ms=theirs,
        difference=Span(
            lower_ms=_less(after.lower_ms, before.upper_ms), upper_ms=_less(after.upper_ms, before.lower_ms)
        ),
    )


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def span_of(counts: Mapping[int, int], quantile: float, alpha: float) -> Span:
    """Return where the true quantile lies, at all looks together."""
    n = sum(counts.values())
    if n == 0:
        return Span(lower_ms=None, upper_ms=None)
    fewest, most = _above(n, 1 - quantile, alpha)
    return Span(lower_ms=_lower_ms(counts, n - most), upper_ms=_upper_ms(counts, n - fewest + 1))


def _above(n: int, share: float, alpha: float) -> tuple[int, int]:
    """Return the fewest and the most durations that may lie above a quantile that this share exceeds."""
    bar = -math.log(alpha)
    middle = round(n * share)

    def possible(k: int) -> bool:
        return evidence(n, k, share) < bar

    return _edge(possible, middle, 0), _edge(possible, middle, n)


def _edge(possible: Callable[[int], bool], inside: int, outside: int) -> int:
    """Return the count nearest to `outside` that is possible; possible ones lie together around `inside`."""
    if possible(outside):
        return outside
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if possible(middle) else (inside, middle)
    return inside


def _lower_ms(counts: Mapping[int, int], rank: int) -> float:
    """Return the lower end of the bucket that holds the duration of this rank; 0 below the first."""
    bucket = _bucket_at(counts, rank)
    return 0.0 if bucket is None or bucket == 0 else upper_ms(bucket - 1)


def _upper_ms(counts: Mapping[int, int], rank: int) -> float | None:
    """Return the upper end of the bucket that holds the duration of this rank; None past the last."""
    bucket = _bucket_at(counts, rank)
    return None if bucket is None else upper_ms(bucket)


def _bucket_at(counts: Mapping[int, int], rank: int) -> int | None:
    if rank < 1:
        return None
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return bucket
    return None
