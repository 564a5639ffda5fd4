"""Compare a pair: the whole way from two observations to a result.

In: a pair, compiled rules, limits.  Out: a `Comparison`.
Holds: pure, and never raises for any bytes under any headers; a failure is never a match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.bodies import compare_bodies
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.headers import compare_headers, fields_of, hosts_of, relevant
from shadowdiff.compare.outcome import incomparable, overlong, settled, status_difference
from shadowdiff.compare.required import unmet
from shadowdiff.model import Comparison, Result

if TYPE_CHECKING:
    from shadowdiff.compare.limits import Limits
    from shadowdiff.compare.messages import Messages
    from shadowdiff.model import Pair
    from shadowdiff.rules import CompiledRules

MATCH: Final = Comparison(result=Result.MATCH)


def compare(pair: Pair, rules: CompiledRules, limits: Limits, messages: Messages | None = None) -> Comparison:
    """Return how the candidate's response differs from the primary's.

    messages: reads the target's Protocol Buffers; without it their bytes are compared.
    """
    decided = settled(pair)
    if decided is not None:
        return decided
    primary, candidate = pair.primary, pair.candidate
    route = rules.for_route(pair.route, primary.method)
    if route.requirements and (reason := unmet(pair, route.requirements, limits, messages)):
        return incomparable(reason)
    alike = primary.status == candidate.status and primary.body == candidate.body
    truncated = primary.body_bytes > len(primary.body) or candidate.body_bytes > len(candidate.body)
    alike = alike and not truncated
    if alike and primary.headers == candidate.headers and primary.trailers == candidate.trailers:
        return MATCH
    heads = relevant(fields_of(primary), fields_of(candidate), limits)
    if alike and heads[0] is heads[1]:
        return MATCH
    findings = Findings(limits)
    reason = ""
    if primary.status != candidate.status:
        findings.add(status_difference(primary, candidate, route.status))
    if heads[0] is not heads[1]:
        compare_headers(heads, hosts_of(pair), route, findings)
    if not truncated:
        reason = compare_bodies(pair, heads, route, limits, findings, messages=messages)
    elif lost := overlong(pair):
        findings.add(lost)
    else:
        reason = "truncated"
    return incomparable(reason) if reason and not findings.counted else findings.comparison()
