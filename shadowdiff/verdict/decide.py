"""Decide: what an epoch's evidence supports, as `pass`, `fail` or `insufficient` with its reason in one sentence.

In: evidence, coverage, thresholds.  Out: a `Finding`.
Holds: pure. Over all the looks that anybody takes in one epoch, a sound release fails with a chance of at most
1 - LEVEL: half of that is spent on the target's own ratio, half on its routes, in the order in which they
appeared (1/2, 1/6, 1/12 … of the half, which add up to it however many follow). An unsound release passes with
a chance of at most 1 - LEVEL.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict.sequence import (
    chance_of_so_many,
    exceeds,
    lower_end,
    pairs_until_exceeds,
    pairs_until_within,
    stays_within,
    upper_end,
)

if TYPE_CHECKING:
    from shadowdiff.verdict.evidence import Evidence, RouteEvidence

LEVEL: Final = 0.95
ALPHA: Final = 1 - LEVEL
ALPHA_TARGET: Final = ALPHA / 2
ALPHA_ROUTES: Final = ALPHA / 2
LEAST_MISMATCHES: Final = 3
"""A route fails on no fewer pairs than these: one odd answer is a matter for a look at the sample."""
SUSPECT: Final = 0.01
"""A route whose mismatches had a smaller chance than this within the limit stands against a pass."""


class Decision(StrEnum):
    """The three answers."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class Lack(StrEnum):
    """What an insufficient verdict lacks."""

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
    """Where the true ratio lies, at a level of confidence that holds however often it is looked at."""

    level: float
    lower: float
    upper: float


class RouteFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One route: what was counted, where its true ratio lies, and what that says.

    state: `fails`; `suspect` (more differs than the limit explains, too few pairs to say so); `within` the limit;
    `untested` (too few pairs to say).
    """

    route: str
    compared: int
    mismatches: int
    lower: float
    upper: float
    state: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence supports; `pairs_needed` is None where no number of pairs would do."""

    decision: Decision
    reason: str
    interval: Interval
    routes: tuple[RouteFinding, ...] = ()
    pairs_needed: int | None = None
    lack: Lack | None = None


def alpha_of_route(place: int) -> float:
    """Return the share of the level that the route with this place, from 1 on, may spend."""
    return ALPHA_ROUTES / (place * (place + 1))


def interval_of(n: int, k: int, allowed: float) -> Interval:
    """Return the interval of a target's ratio."""
    return Interval(level=LEVEL, lower=lower_end(n, k, allowed, ALPHA_TARGET), upper=upper_end(n, k, allowed, ALPHA))


def find_route(route: RouteEvidence, place: int, allowed: float) -> RouteFinding:
    """Return what one route's pairs say by themselves."""
    n, k, alpha = route.compared, route.mismatches, alpha_of_route(place)
    least = LEAST_MISMATCHES if allowed > 0 else 1
    if k >= least and exceeds(n, k, allowed, alpha, broad=True):
        state = "fails"
    elif k and n and k / n > allowed and chance_of_so_many(n, k, allowed) < SUSPECT:
        state = "suspect"
    elif stays_within(n, k, allowed, ALPHA):
        state = "within"
    else:
        state = "untested"
    return RouteFinding(
        route=route.route,
        compared=n,
        mismatches=k,
        lower=lower_end(n, k, allowed, alpha, broad=True),
        upper=upper_end(n, k, allowed, ALPHA),
        state=state,
    )


def find(evidence: Evidence, allowed: float, coverage_lack: str | None) -> Finding:
    """Return what the evidence supports.

    coverage_lack: why the coverage is too low for a pass, None where it is enough.
    """
    n, k = evidence.compared, evidence.mismatches
    routes = tuple(find_route(route, place, allowed) for place, route in enumerate(evidence.routes, start=1))
    decision, reason, lack = _decide(n, k, allowed, routes, coverage_lack)
    return Finding(
        decision=decision,
        reason=reason,
        interval=interval_of(n, k, allowed),
        routes=routes,
        pairs_needed=0 if decision is not Decision.INSUFFICIENT else _needed(n, k, allowed),
        lack=lack,
    )


def _decide(
    n: int, k: int, allowed: float, routes: tuple[RouteFinding, ...], coverage_lack: str | None
) -> tuple[Decision, str, Lack | None]:
    least = LEAST_MISMATCHES if allowed > 0 else 1
    if k >= least and exceeds(n, k, allowed, ALPHA_TARGET):
        return Decision.FAIL, f"{differ(n, k)}, {percent(allowed)} is allowed", None
    failing = [route for route in routes if route.state == "fails"]
    if failing:
        worst = max(failing, key=lambda route: (route.lower, route.mismatches))
        more = f" (and {len(failing) - 1} more routes)" if len(failing) > 1 else ""
        told = f"of {worst.route} {differ(worst.compared, worst.mismatches)}, {percent(allowed)} is allowed{more}"
        return Decision.FAIL, told, None
    return _not_failing(n, k, allowed, routes, coverage_lack)


def _not_failing(
    n: int, k: int, allowed: float, routes: tuple[RouteFinding, ...], coverage_lack: str | None
) -> tuple[Decision, str, Lack | None]:
    suspect = next((route for route in routes if route.state == "suspect"), None)
    if n == 0:
        return Decision.INSUFFICIENT, coverage_lack or "no pair was compared yet", _of(coverage_lack, Lack.PAIRS)
    if not stays_within(n, k, allowed, ALPHA):
        if allowed <= 0:
            never = "a limit of 0 is never proven: set gate.max_mismatch_ratio to the least ratio that matters"
            return Decision.INSUFFICIENT, f"{differ(n, k)}; {never}", Lack.NEVER
        high = upper_end(n, k, allowed, ALPHA)
        told = f"{differ(n, k)}; the true ratio may be up to {percent(high)}, {percent(allowed)} is allowed"
        return Decision.INSUFFICIENT, told, Lack.PAIRS
    if suspect is not None:
        told = (
            f"of {suspect.route} {differ(suspect.compared, suspect.mismatches)}: more than {percent(allowed)} explains"
        )
        return Decision.INSUFFICIENT, f"{told}, too few pairs to say so", Lack.ROUTE
    if coverage_lack:
        return Decision.INSUFFICIENT, coverage_lack, Lack.COVERAGE
    return Decision.PASS, f"{differ(n, k)}, {percent(allowed)} is allowed", None


def _of(coverage_lack: str | None, otherwise: Lack) -> Lack:
    return Lack.COVERAGE if coverage_lack else otherwise


def _needed(n: int, k: int, allowed: float) -> int | None:
    """Return how many more pairs decide, if they differ as those seen did."""
    if n == 0:
        return pairs_until_within(0, 0, allowed, ALPHA)
    if k / n > allowed:
        return pairs_until_exceeds(n, k, allowed, ALPHA_TARGET)
    return pairs_until_within(n, k, allowed, ALPHA)


def differ(n: int, k: int) -> str:
    """Say how many of how many pairs differ."""
    said = f"{k:,} of {n:,} {'pair' if n == 1 else 'pairs'} {'differs' if 1 in {k, n} else 'differ'}"
    return f"{said} ({percent(k / n if n else 0.0)})"


def percent(ratio: float) -> str:
    """Return a ratio as a person reads it."""
    return f"{100 * ratio:.3g}%"
