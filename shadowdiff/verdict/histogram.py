"""Durations as counts in buckets: four to an octave, from 1/64 ms to 2 minutes.

In: milliseconds.  Out: a bucket's number, and from counts per bucket a quantile.
Holds: a quantile read back is never below the true one, and at most a quarter above it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PER_OCTAVE = 4
LOWEST_MS = 1 / 64
HIGHEST_MS = 131_072.0
BUCKETS = int(math.log2(HIGHEST_MS / LOWEST_MS)) * PER_OCTAVE


def bucket_of(duration_ms: float) -> int:
    """Return the bucket whose upper end is the first at or above a duration; the ends take what lies beyond."""
    if duration_ms <= LOWEST_MS:
        return 0
    if duration_ms >= HIGHEST_MS:
        return BUCKETS
    mantissa, exponent = math.frexp(duration_ms / LOWEST_MS)
    # mantissa is in [0.5, 1): four equal steps over the octave, the upper end belonging to its step.
    return (exponent - 1) * PER_OCTAVE + math.ceil((mantissa - 0.5) * 2 * PER_OCTAVE)


def upper_ms(bucket: int) -> float:
    """Return the longest duration that a bucket holds."""
    octave, step = divmod(bucket, PER_OCTAVE)
    return LOWEST_MS * 2.0**octave * (1 + step / PER_OCTAVE)


def quantile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """Return the duration that `share` of the counted ones do not pass; None where nothing was counted."""
    total = sum(counts.values())
    rank = math.ceil(total * share)
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if counts[bucket] and seen >= rank:
            return upper_ms(bucket)
    return None
