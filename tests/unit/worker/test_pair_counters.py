"""Test which pairs count as failures of v2."""

from __future__ import annotations

import pytest

from shadowdiff.model import Comparison, Failure, Side
from shadowdiff.worker import PairCounters
from tests.fakes.responses import compared, pair_of, response

ERRORS = b'{"errors": [{"message": "x"}]}'
ROUTE = "POST /graphql#A"


@pytest.mark.parametrize(
    ("bodies", "failure", "reason"),
    [
        ((b"{}", b"{}"), None, None),
        ((b"{}", ERRORS), None, "graphql_errors"),
        ((ERRORS, b"{}"), None, None),
        ((ERRORS, ERRORS), None, None),
        ((b"{}", b""), Failure.TIMEOUT, "timeout"),
        ((b"{}", b""), Failure.WITHHELD, None),
    ],
)
def test_errors_of_v2_alone_count_as_failures(
    bodies: tuple[bytes, bytes], failure: Failure | None, reason: str | None
) -> None:
    """A request that was not sent is no failure, and all series of a target exist."""
    one = response(Side.PRIMARY, bodies[0])
    other = response(Side.CANDIDATE, bodies[1], status=0 if failure else 200, failure=failure)
    comparison: Comparison = compared(one, other, route=ROUTE)
    counters = PairCounters()
    counters.add(pair_of(one, other, ROUTE), comparison, 0.0)
    counted = {label: count for (_, label), count in counters.candidate_failures.items() if count}
    assert ({reason: 1} if reason else {}) == counted
    assert "withheld" not in {label for _, label in counters.candidate_failures}
    assert 1 == sum(counters.comparisons.values())
