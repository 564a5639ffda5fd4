"""Count the pairs that this process committed, for metrics.

A pair is counted at most once: when its commit returns 1. The ledger has the authoritative counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from shadowdiff.model import GRAPHQL_ERRORS, OTHER, WITHHELD, Failure, Result, Severity, Side
from shadowdiff.telemetry.histogram import Histogram
from shadowdiff.telemetry.trace_context import trace_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.model import Comparison, Observation, Pair

SERVER_ERROR = 500
STATUS_5XX = "status_5xx"
GRAPHQL = "graphql_errors"
FAILURES = (*(str(failure) for failure in Failure if failure is not Failure.WITHHELD), STATUS_5XX, GRAPHQL)
"""The failures of v2: reasons for an incomplete response, a server error, and GraphQL errors that v1 did not send."""


@dataclass(slots=True)
class PairCounters:
    """Counters by target, route and other labels; the number of routes per target is limited."""

    most_routes: int = 200
    comparisons: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])
    differences: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])
    candidate_failures: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    response_seconds: dict[tuple[str, str, str], Histogram] = field(
        default_factory=dict[tuple[str, str, str], Histogram]
    )
    pairing_delay_seconds: dict[str, Histogram] = field(default_factory=dict[str, Histogram])
    clock_s: Callable[[], float] = time.monotonic
    _routes: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def add(self, pair: Pair, comparison: Comparison, delay_s: float) -> None:
        """Count one committed pair."""
        target = pair.target
        route = self._route(target, pair.route)
        self.comparisons[target, route, comparison.result] += 1
        if comparison.result is Result.MISMATCH:
            for difference in comparison.differences:
                if difference.rule is not None:
                    continue
                place = (target, route, difference.kind)
                self.differences[place] = self.differences.get(place, 0) + 1
        if comparison.reason != WITHHELD and (reason := _candidate_failure(pair, comparison)):
            self.candidate_failures[target, reason] += 1
        trace_id, now_s = partial(_trace_id, pair), self.clock_s()
        self._time(target, route, pair.primary, trace_id, now_s)
        self._time(target, route, pair.candidate, trace_id, now_s)
        self.pairing_delay_seconds[target].observe(delay_s)

    def _route(self, target: str, route: str) -> str:
        """Return the route's label; set the count of every result to 0 for a new route."""
        routes = self._routes.get(target)
        if routes is None:
            routes = self._routes[target] = set()
            self.pairing_delay_seconds[target] = Histogram()
            self.candidate_failures.update({(target, reason): 0 for reason in FAILURES})
        if route in routes:
            return route
        if len(routes) >= self.most_routes:
            route = OTHER
        routes.add(route)
        for result in Result:
            self.comparisons.setdefault((target, route, result), 0)
        for side in (Side.PRIMARY, Side.CANDIDATE):
            self.response_seconds.setdefault((target, route, side), Histogram())
        return route

    def _time(
        self, target: str, route: str, observation: Observation, trace_id: Callable[[], str], now_s: float
    ) -> None:
        if observation.duration_ms >= 0:
            histogram = self.response_seconds[target, route, observation.side]
            histogram.observe(observation.duration_ms / 1000, trace_id, now_s)


def _candidate_failure(pair: Pair, comparison: Comparison) -> str | None:
    """Return why v2 failed, or None."""
    if pair.candidate.failure is not None or pair.candidate.status >= SERVER_ERROR:
        return pair.candidate.failure or STATUS_5XX
    first = comparison.differences[:1]
    return GRAPHQL if any(one.path == GRAPHQL_ERRORS and one.severity is Severity.BREAKING for one in first) else None


def _trace_id(pair: Pair) -> str:
    """Return the pair's trace id if the trace was sampled, else ""."""
    trace = trace_of(pair.candidate.request_headers, pair.primary.request_headers)
    return "" if trace is None or trace.sampled is False else trace.trace_id
