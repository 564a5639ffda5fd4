"""Compute latency quantiles of v1 and v2, intervals of the differences, and the gate on the p99.

Pure. The number of durations above a quantile is binomial, so the confidence sequence of the verdict's ratio also gives
bounds of a quantile. These bounds stay valid if they are read many times. Each side's interval uses half of the error
probability, so the interval of the difference uses all of it, even if the sides depend on each other. Intervals end at
bucket limits, so they are slightly too wide but never too narrow.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Side
from shadowdiff.verdict import sequence
from shadowdiff.verdict.decide import ALPHA_TARGET, Decision, Finding, InsufficientReason, alpha_of_route
from shadowdiff.verdict.latency_buckets import bucket_at, quantile_ms, upper_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.verdict.evidence import Evidence

ALPHA: Final = 0.05
P99: Final = 0.99
QUANTILES: Final = (0.5, 0.9, P99)
MEASURED: Final = (
    "v1's recorder measures v1's durations, next to v1; shadowdiff measures v2's durations, from the request until the "
    "last byte, so they include the network"
)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a value; a bound is None while it is unknown."""

    lower_ms: float | None
    upper_ms: float | None


class QuantileComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A quantile of both sides; `difference` is v2 minus v1."""

    quantile: float
    primary_ms: float
    candidate_ms: float
    difference: Span


class LatencyComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides of one route: the number of their durations, and their quantiles."""

    route: str
    primary: int
    candidate: int
    quantiles: tuple[QuantileComparison, ...]


def compare_latency(
    route: str, primary: Mapping[int, int], candidate: Mapping[int, int], alpha: float = ALPHA
) -> LatencyComparison | None:
    """Return the quantiles of both sides and their differences; None if a side has no durations."""
    known = tuple(filter(None, (_quantile(primary, candidate, quantile, alpha) for quantile in QUANTILES)))
    sizes = sum(primary.values()), sum(candidate.values())
    return LatencyComparison(route=route, primary=sizes[0], candidate=sizes[1], quantiles=known) if known else None


def _quantile(
    primary: Mapping[int, int], candidate: Mapping[int, int], quantile: float, alpha: float
) -> QuantileComparison | None:
    primary_ms, candidate_ms = quantile_ms(primary, quantile), quantile_ms(candidate, quantile)
    if primary_ms is None or candidate_ms is None:
        return None
    (v1_least, v1_most), (v2_least, v2_most) = (span_of(each, quantile, alpha / 2) for each in (primary, candidate))
    return QuantileComparison(
        quantile=quantile,
        primary_ms=primary_ms,
        candidate_ms=candidate_ms,
        difference=Span(
            lower_ms=None if v1_most is None else v2_least - v1_most,
            upper_ms=None if v2_most is None else v2_most - v1_least,
        ),
    )


def span_of(counts: Mapping[int, int], quantile: float, alpha: float) -> tuple[float, float | None]:
    """Return the bounds of the true quantile in ms, valid even if they are read often; None means no bound yet."""
    n, share, bar = sum(counts.values()), 1 - quantile, -math.log(alpha)
    middle = round(n * share)

    def possible(above: int) -> bool:
        return sequence.evidence(n, above, share) < bar

    # The possible counts of durations above the quantile are contiguous around the middle.
    fewest = bisect_left(range(middle), x=True, key=possible)
    most = middle + bisect_left(range(middle + 1, n + 1), x=True, key=lambda above: not possible(above))
    lower, upper = bucket_at(counts, n - most), bucket_at(counts, n - fewest + 1)
    return upper_ms(lower - 1) if lower else 0.0, None if upper is None else upper_ms(upper)


def with_latency(finding: Finding, evidence: Evidence, allowed_ms: float) -> Finding:
    """Apply the gate on the p99 to the finding; a failure because of mismatches stays unchanged.

    The gate has a separate error probability, split between the target and its routes as for mismatches. v2 fails if
    its p99 certainly exceeds v1's by more than the limit. v2 passes only if the target's p99 certainly does not.
    """
    if finding.decision is Decision.FAIL:
        return finding
    both: dict[str, Counter[int]] = {side: Counter() for side in Side}
    for sides in evidence.durations.values():
        for side, counts in sides.items():
            both[side].update(counts)
    whole = _p99(both, ALPHA_TARGET)
    slower = _slower("the target", whole, allowed_ms)
    for place, route in enumerate(evidence.routes, start=1):
        found = _p99(evidence.durations.get(route.route, {}), alpha_of_route(place))
        slower = slower or _slower(route.route, found, allowed_ms)
    if slower:
        return finding.failing(slower)
    upper = whole.difference.upper_ms if whole else None
    if finding.decision is not Decision.PASS or (upper is not None and upper <= allowed_ms):
        return finding
    if whole is None:
        doubt = "No pair has the durations of both sides yet"
    else:
        doubt = f"v2's p99 may be longer by {'any time' if upper is None else f'up to {upper:.3g} ms'}"
    return finding.insufficient(f"{finding.reason} {doubt}, limit {allowed_ms:g} ms.", InsufficientReason.LATENCY)


def _p99(sides: Mapping[str, Mapping[int, int]], alpha: float) -> QuantileComparison | None:
    return _quantile(sides.get(Side.PRIMARY, {}), sides.get(Side.CANDIDATE, {}), P99, alpha)


def _slower(where: str, found: QuantileComparison | None, allowed_ms: float) -> str | None:
    lower = found.difference.lower_ms if found else None
    if found is None or lower is None or lower <= allowed_ms:
        return None
    both = f"{found.candidate_ms:.3g} ms in v2, {found.primary_ms:.3g} ms in v1"
    return f"p99 of {where}: {both}. At least {lower:.3g} ms longer, limit {allowed_ms:g} ms."
