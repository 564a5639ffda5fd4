"""Count durations in buckets: four per octave from 1/64 ms to 2 minutes.

A quantile from the buckets is never below the true value and at most a quarter above it.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PER_OCTAVE: Final = 4
LOWEST_MS: Final = 1 / 64
HIGHEST_MS: Final = 131_072.0
BUCKETS: Final = int(math.log2(HIGHEST_MS / LOWEST_MS)) * PER_OCTAVE


def bucket_of(duration_ms: float) -> int:
    """Return the bucket of a duration; the first bucket has no lower limit, and the last has no upper limit."""
    if duration_ms <= LOWEST_MS:
        return 0
    if duration_ms >= HIGHEST_MS:
        return BUCKETS
    mantissa, exponent = math.frexp(duration_ms / LOWEST_MS)
    # The mantissa is in [0.5, 1), which is split into four equal steps; each step includes its upper limit.
    return (exponent - 1) * PER_OCTAVE + math.ceil((mantissa - 0.5) * 2 * PER_OCTAVE)


def upper_ms(bucket: int) -> float:
    """Return the longest duration in a bucket."""
    octave, step = divmod(bucket, PER_OCTAVE)
    return LOWEST_MS * 2.0**octave * (1 + step / PER_OCTAVE)


def quantile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """Return the quantile of all durations at `share`; None if there are no durations."""
    bucket = bucket_at(counts, max(1, math.ceil(sum(counts.values()) * share)))
    return None if bucket is None else upper_ms(bucket)


def bucket_at(counts: Mapping[int, int], rank: int) -> int | None:
    """Return the bucket of the duration with this rank, counted from 1."""
    ordered = sorted(counts)
    up_to = zip(ordered, accumulate(counts[bucket] for bucket in ordered), strict=True)
    return next((bucket for bucket, seen in up_to if seen >= rank > 0), None)
