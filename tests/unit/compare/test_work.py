"""The work budget limits a comparison, and the same comparison always has the same cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest

from benchmarks.complexity import cases
from shadowdiff.compare import Limits, compare
from shadowdiff.compare.work import Budget, TooComplexError
from shadowdiff.model import Comparison, Pair, Result, Side
from shadowdiff.rules import compile_rules, parse_rules
from tests.fakes.responses import pair_of, response

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SMALL = 4_000
HOSTILE = [pytest.param(*case, id=case[0]) for case in cases(SMALL)]


def _pair(media: str, one: bytes, other: bytes) -> Pair:
    headers = ((b"content-type", media.encode()),)
    return pair_of(response(Side.PRIMARY, one, headers), response(Side.CANDIDATE, other, headers))


def _cost(media: str, rules: list[dict[str, Any]], one: bytes, other: bytes) -> tuple[Comparison, int]:
    """Return the comparison, and the units that it spent."""
    budgets: list[Budget] = []

    def recorded(units: int) -> Budget:
        budgets.append(Budget(units))
        return budgets[-1]

    with mock.patch("shadowdiff.compare.finding.Budget", recorded):
        comparison = compare(_pair(media, one, other), compile_rules(parse_rules(rules), NOW), Limits())
    return comparison, Limits().work - budgets[-1].left


def test_a_budget_rejects_work_that_it_does_not_cover() -> None:
    """Work is charged before it runs."""
    budget = Budget(3)
    budget.spend(3)
    with pytest.raises(TooComplexError):
        budget.spend(1)


@pytest.mark.parametrize(("_name", "media", "rules", "one", "other"), HOSTILE)
def test_a_comparison_costs_the_same_each_time_and_ends_at_its_budget(
    _name: str, media: str, rules: list[dict[str, Any]], one: bytes, other: bytes
) -> None:
    """With one unit less than its cost, the comparison is too complex. A tree of HTML may use a part of the budget."""
    comparison, cost = _cost(media, rules, one, other)
    assert (comparison, cost) == _cost(media, rules, one, other)
    assert cost > 0
    pair, compiled = _pair(media, one, other), compile_rules(parse_rules(rules), NOW)
    assert compare(pair, compiled, Limits(work=cost if media != "text/html" else 2 * cost)) == comparison
    short = compare(pair, compiled, Limits(work=cost - 1))
    assert short == Comparison(result=Result.INCOMPARABLE, reason="too_complex")


@pytest.mark.parametrize("kind", ["schema", "unordered"])
def test_nesting_does_not_multiply_work(kind: str) -> None:
    """Each level adds to the cost."""
    costs: list[int] = []
    for depth in (25, 50, 100, 200):
        one, other = (b"[" * depth + value + b"]" * depth for value in (b"1", b"5"))
        costs.append(_cost("application/json", [{kind: "$"}, {"ignore": "$..z"}], one, other)[1])
    assert costs[-1] <= 10 * costs[0]


@pytest.mark.parametrize(
    ("rule", "step"),
    [
        ({"ignore": "$[*].n"}, 1),
        ({"tolerance": {"path": "$[*].n", "abs": 1}}, 1),
        ({"mask": {"path": "$[*].s", "pattern": "\\d+"}}, 7),
    ],
    ids=["ignore", "tolerance", "mask"],
)
@pytest.mark.parametrize("order", [None, {"unordered": "$"}, {"key": {"path": "$", "by": ["id"]}}], ids=str)
def test_covered_arrays_cost_linear_work(rule: dict[str, Any], step: int, order: dict[str, Any] | None) -> None:
    """Twice the elements cost at most two and a half times the work, for any rule."""
    costs: list[int] = []
    for length in (250, 500, 1000):
        one = [{"id": at, "n": at, "s": f"s{at}"} for at in range(length)]
        other = [
            {"id": at, "n": at + step if step == 1 else at, "s": f"s{at}" if step == 1 else f"s{at + step}"}
            for at in range(length)
        ]
        if order is not None:
            other.reverse()
        rules = [rule, *([order] if order else [])]
        comparison, cost = _cost("application/json", rules, json.dumps(one).encode(), json.dumps(other).encode())
        assert comparison.result is Result.IGNORED
        costs.append(cost)
    assert costs[2] <= 2.5 * costs[1] <= 6.25 * costs[0]
