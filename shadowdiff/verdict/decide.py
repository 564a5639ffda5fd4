"""Decide whether a run's evidence supports `pass`, `fail` or `insufficient`, and describe the reason.

Pure. In one run, a good release fails with a probability of at most 1 - LEVEL, even if the verdict is read many times.
A bad release passes with at most the same probability. The target's ratio gets half of this error probability. The
routes get 1/2, 1/6, 1/12, … of the other half, in order of appearance.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict import sequence

if TYPE_CHECKING:
    from shadowdiff.verdict.evidence import Evidence, RouteEvidence

LEVEL: Final = 0.95
ALPHA: Final = 1 - LEVEL
ALPHA_TARGET: Final = ALPHA / 2
ALPHA_ROUTES: Final = ALPHA / 2
LEAST_MISMATCHES: Final = 3
"""Fewer mismatches than this never fail a target or a route, unless the limit is 0."""
SUSPECT: Final = 0.01
"""A route is suspect if its mismatches have a smaller probability than this within the limit."""


class Decision(StrEnum):
    """The verdict in one word."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class InsufficientReason(StrEnum):
    """The reason why a verdict is insufficient."""

    PAIRS = "pairs"
    COVERAGE = "coverage"
    ROUTE = "route"
    NEVER = "never"
    LATENCY = "latency"
    LEARNING = "learning"
    NOISE = "noise"
    ROLLOUT = "rollout"
    TARGET = "target"
    STORE = "store"


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """Confidence bounds of the true ratio, valid even if they are read many times."""

    level: float
    lower: float
    upper: float


class RouteFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The finding for one route, from the pairs of this route only.

    state: `fails`; `suspect` (more mismatches than the limit explains, but too few pairs to be sure); `within` (the
    ratio is within the limit); `untested` (too few pairs).
    """

    route: str
    compared: int
    mismatches: int
    lower: float
    upper: float
    state: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The finding that the evidence supports; `pairs_needed` is None if more pairs cannot decide.

    triples_needed: how many more triples prove that v2 differs no more than v1 differs from itself, if this is true.
    """

    decision: Decision
    reason: str
    interval: Interval
    routes: tuple[RouteFinding, ...] = ()
    pairs_needed: int | None = None
    insufficient_reason: InsufficientReason | None = None
    triples_needed: int | None = None

    def failing(self, reason: str) -> Finding:
        """Return the finding, changed to a failure with this reason."""
        return msgspec.structs.replace(
            self, decision=Decision.FAIL, reason=reason, insufficient_reason=None, pairs_needed=0
        )

    def passing(self, reason: str) -> Finding:
        """Return the finding, changed to a pass with this reason."""
        return msgspec.structs.replace(
            self, decision=Decision.PASS, reason=reason, insufficient_reason=None, pairs_needed=0, triples_needed=0
        )

    def insufficient(self, reason: str, because: InsufficientReason, pairs_needed: int | None = None) -> Finding:
        """Return the finding, changed to insufficient with this reason."""
        return msgspec.structs.replace(
            self, decision=Decision.INSUFFICIENT, reason=reason, insufficient_reason=because, pairs_needed=pairs_needed
        )


def alpha_of_route(place: int) -> float:
    """Return the share of the error probability for the route at this position; the first is 1."""
    return ALPHA_ROUTES / (place * (place + 1))


def least_mismatches(allowed: float) -> int:
    """Return the minimum number of mismatches for a failure."""
    return LEAST_MISMATCHES if allowed > 0 else 1


def target_fails(n: int, k: int, allowed: float) -> bool:
    """Return whether k mismatches in n pairs prove that the ratio exceeds the limit."""
    return k >= least_mismatches(allowed) and sequence.exceeds(n, k, allowed, ALPHA_TARGET)


def find_route(route: RouteEvidence, place: int, allowed: float, level: float = ALPHA) -> RouteFinding:
    """Return the finding for one route, from the pairs of this route only. level: the error of the upper bound."""
    n, k, alpha = route.compared, route.mismatches, alpha_of_route(place)
    if k >= least_mismatches(allowed) and sequence.exceeds(n, k, allowed, alpha, broad=True):
        state = "fails"
    elif k and n and k / n > allowed and sequence.chance_of_so_many(n, k, allowed) < SUSPECT:
        state = "suspect"
    elif sequence.stays_within(n, k, allowed, level):
        state = "within"
    else:
        state = "untested"
    return RouteFinding(
        route=route.route,
        compared=n,
        mismatches=k,
        lower=sequence.lower_end(n, k, allowed, alpha, broad=True),
        upper=sequence.upper_end(n, k, allowed, level),
        state=state,
    )


def find(evidence: Evidence, allowed: float, low_coverage: str | None, level: float = ALPHA) -> Finding:
    """Return the finding that the evidence supports.

    low_coverage: why coverage is too low, or None. level: the error of the upper bound, and so of a wrong pass.
    """
    n, k = evidence.compared, evidence.mismatches
    routes = tuple(find_route(route, place, allowed, level) for place, route in enumerate(evidence.routes, start=1))
    lower, upper = sequence.lower_end(n, k, allowed, ALPHA_TARGET), sequence.upper_end(n, k, allowed, level)
    passed = Finding(
        decision=Decision.PASS,
        reason=f"{differ(n, k)}: at most {percent(upper)}, limit {percent(allowed)}.",
        interval=Interval(level=LEVEL, lower=lower, upper=upper),
        routes=routes,
        pairs_needed=0,
    )
    if reason := _failure(n, k, allowed, lower, routes):
        return passed.failing(reason)
    doubt = _too_few_pairs(n, k, allowed, upper, level) or _suspect_route(routes, allowed)
    if low_coverage and (doubt is None or n == 0):
        doubt = low_coverage, InsufficientReason.COVERAGE
    if doubt is None:
        return passed
    if n and k / n > allowed:
        return passed.insufficient(*doubt, sequence.pairs_until_exceeds(n, k, allowed, ALPHA_TARGET))
    return passed.insufficient(*doubt, sequence.pairs_until_within(n, k, allowed, level))


def _failure(n: int, k: int, allowed: float, lower: float, routes: tuple[RouteFinding, ...]) -> str | None:
    if target_fails(n, k, allowed):
        return at_least(differ(n, k), lower, allowed)
    failing = [route for route in routes if route.state == "fails"]
    if not failing:
        return None
    worst = max(failing, key=lambda route: (route.lower, route.mismatches))
    more = f" ({len(failing) - 1} more routes fail.)" if len(failing) > 1 else ""
    return f"{at_least(differ(worst.compared, worst.mismatches, worst.route), worst.lower, allowed)}{more}"


def _too_few_pairs(n: int, k: int, allowed: float, upper: float, level: float) -> tuple[str, InsufficientReason] | None:
    if n == 0:
        return "No pairs compared yet.", InsufficientReason.PAIRS
    if sequence.stays_within(n, k, allowed, level):
        return None
    if allowed <= 0:
        never = "A limit of 0 cannot be proven: set gate.max_mismatch_ratio to the smallest ratio that matters."
        return f"{differ(n, k)}. {never}", InsufficientReason.NEVER
    bound = f"up to {percent(upper)} may differ, limit {percent(allowed)}"
    return f"{differ(n, k)}. Too few pairs for a verdict: {bound}.", InsufficientReason.PAIRS


def _suspect_route(routes: tuple[RouteFinding, ...], allowed: float) -> tuple[str, InsufficientReason] | None:
    for route in routes:
        if route.state == "suspect":
            found = differ(route.compared, route.mismatches, route.route)
            return f"{found}. Too few pairs to rule out a fault, limit {percent(allowed)}.", InsufficientReason.ROUTE
    return None


def differ(n: int, k: int, route: str = "") -> str:
    """Return a text such as "1 of 20 pairs differs", with the route if one is given."""
    where = f"{route}: " if route else ""
    return f"{where}{k:,} of {n:,} pairs {'differs' if k == 1 else 'differ'}"


def at_least(found: str, lower: float, allowed: float) -> str:
    """Return the reason of a failure, with the bound that exceeds the limit."""
    return f"{found}: at least {percent(lower)}, limit {percent(allowed)}."


def percent(ratio: float) -> str:
    """Return a ratio as a readable percentage."""
    return f"{100 * ratio:.3g} %"
