"""The funnel check at the end of every integration test detects errors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shadowdiff.pairing.ledger import balance
from shadowdiff.verdict import FunnelRoutes, flat, funnel
from shadowdiff.verdict.counts import RouteCounts
from tests.funnel_check import agree

COUNTS = {
    "recorded.received": 9, "recorded.accepted": 7, "recorded.ineligible": 2, "primary.parked": 7, "primary.paired": 4,
    "primary.orphaned": 3, "candidate.parked": 4, "candidate.paired": 4, "mirrored.received": 4,
    "mirrored.forwarded": 4, "pairs.ready": 4, "pairs.match": 3, "pairs.incomparable": 1,
}  # fmt: skip


def _both() -> tuple[Any, Any]:
    books: Any = balance("shop", COUNTS, 0)
    results = {"match": 3, "ignored": 0, "mismatch": 0, "incomparable": 1}
    routes = FunnelRoutes.of([RouteCounts(route="GET /", results=results, reasons={"truncated": 1})])
    return json.loads(json.dumps(books)), json.loads(msgspec.json.encode(funnel("shop", flat(books), routes)))


def test_books_and_a_funnel_that_agree_are_let_through() -> None:
    """The check accepts a ledger and a funnel that agree."""
    books, shown = _both()
    assert books["balanced"]
    agree(books, shown)


@pytest.mark.parametrize("step", range(8))
def test_a_step_that_is_not_the_books_is_found(step: int) -> None:
    """The check detects a wrong count in any step."""
    books, shown = _both()
    shown["steps"][step]["count"] += 1
    with pytest.raises(AssertionError):
        agree(books, shown)


@pytest.mark.parametrize("name", ["ineligible", "sampled_out", "crashed"])
def test_a_loss_that_the_books_do_not_know_is_found(name: str) -> None:
    """The check detects it even if the sums are right."""
    books, shown = _both()
    books["recorded"][name] += 1
    with pytest.raises(AssertionError):
        agree(books, shown)
