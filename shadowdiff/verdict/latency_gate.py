"""The gate on latency, for targets that ask for it: how much longer v2's p99 may take than v1's.

In: what the mismatches say, the epoch's durations, the allowed increase.  Out: the finding with latency in it.
Holds: pure. It has a level of its own, shared between the target and its routes as that of the mismatches is; a pass
needs the target's increase to be within the limit for sure, and a failing verdict on mismatches stays as it is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Side
from shadowdiff.verdict.decide import ALPHA_TARGET, Decision, Finding, Lack, alpha_of_route
from shadowdiff.verdict.latency import QuantileComparison, compare_latency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.verdict.evidence import Evidence

P99: Final = 0.99
_Sides = dict[str, dict[int, int]]


def with_latency(finding: Finding, evidence: Evidence, allowed_ms: float) -> Finding:
    """Return the finding, turned to `fail` or `insufficient` where the durations call for it."""
    whole = _p99(_together(evidence.durations), ALPHA_TARGET)
    slower = _slower("the target", whole, allowed_ms)
    for place, route in enumerate(evidence.routes, start=1):
        found = _p99(evidence.durations.get(route.route, {}), alpha_of_route(place))
        slower = slower or _slower(route.route, found, allowed_ms)
    if slower:
        return msgspec.structs.replace(finding, decision=Decision.FAIL, reason=slower, lack=None, pairs_needed=0)
    if finding.decision is not Decision.PASS or _is_within(whole, allowed_ms):
        return finding
    told = "no durations of both sides are known" if whole is None else f"v2's p99 may take {_ms(whole)} longer"
    reason = f"{finding.reason}; {told}, {allowed_ms:g} ms are allowed"
    return msgspec.structs.replace(
        finding, decision=Decision.INSUFFICIENT, reason=reason, lack=Lack.LATENCY, pairs_needed=None
    )


def _together(durations: Mapping[str, _Sides]) -> _Sides:
    whole: dict[str, Counter[int]] = {side: Counter() for side in Side}
    for sides in durations.values():
        for side, counts in sides.items():
            whole[side].update(counts)
    return {side: dict(counts) for side, counts in whole.items()}


def _p99(sides: _Sides, alpha: float) -> QuantileComparison | None:
    row = compare_latency("", sides.get(Side.PRIMARY, {}), sides.get(Side.CANDIDATE, {}), alpha)
    return next((one for one in row.quantiles if one.quantile == P99), None) if row else None


def _slower(where: str, found: QuantileComparison | None, allowed_ms: float) -> str | None:
    """Return that v2 is slower than is allowed, where that is sure."""
    if found is None or found.difference.lower_ms is None or found.difference.lower_ms <= allowed_ms:
        return None
    both = f"p99 of {where} is {found.candidate_ms:.3g} ms, v1's is {found.primary_ms:.3g} ms"
    return f"{both}: at least {found.difference.lower_ms:.3g} ms more, {allowed_ms:g} ms are allowed"


def _is_within(found: QuantileComparison | None, allowed_ms: float) -> bool:
    return found is not None and found.difference.upper_ms is not None and found.difference.upper_ms <= allowed_ms


def _ms(found: QuantileComparison) -> str:
    """Say how much longer v2 may take."""
    upper = found.difference.upper_ms
    return "any time" if upper is None else f"up to {upper:.3g} ms"
