"""Compare a pair: the whole way from two observations to a result.

In: a pair, compiled rules, limits.  Out: a `Comparison`.
Holds: pure, and never raises for any bytes under any headers; a failure is never a match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.bodies import compare_bodies
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.headers import compare_headers, relevant
from shadowdiff.compare.outcome import incomparable, overlong, settled, status_difference
from shadowdiff.compare.required import unmet
from shadowdiff.model import Comparison, Result

if TYPE_CHECKING:
    from shadowdiff.compare.limits import Limits
    from shadowdiff.model import Observation, Pair
    from shadowdiff.rules import CompiledRules

MATCH: Final = Comparison(result=Result.MATCH)


def compare(pair: Pair, rules: CompiledRules, limits: Limits) -> Comparison:
    """Return how the candidate's response differs from the primary's."""
    decided = settled(pair)
    if decided is not None:
        return decided
    primary, candidate = pair.primary, pair.candidate
    route = rules.for_route(pair.route, primary.method)
    reason = ""
    if route.requirements and (reason := unmet(pair, route.requirements, limits)):
        return incomparable(reason)
    truncated = primary.truncated or candidate.truncated
    if primary.body == candidate.body and not truncated and _agree(primary, candidate, limits):
        return MATCH
    findings = Findings(limits)
    if primary.status != candidate.status:
        findings.add(status_difference(primary, candidate, route.status))
    compare_headers(primary, candidate, route, limits, findings)
    if not truncated:
        reason = compare_bodies(primary, candidate, route, limits, findings)
    elif lost := overlong(pair):
        findings.add(lost)
    else:
        reason = "truncated"
    return incomparable(reason) if reason and not findings.counted else findings.comparison()


def _agree(primary: Observation, candidate: Observation, limits: Limits) -> bool:
    """Whether status and all that is compared of the headers are equal as they stand."""
    if primary.status != candidate.status:
        return False
    if primary.headers == candidate.headers:
        return True
    return relevant(primary.headers, limits) == relevant(candidate.headers, limits)
