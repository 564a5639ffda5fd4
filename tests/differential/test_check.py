"""The report of a failing case is runnable Python, and shrinking keeps the fault."""

from __future__ import annotations

import json

from tests.differential.check import case_of, report, run, shrink
from tests.differential.generate import Case
from tests.differential.reference import Response, expected


def _case(one: object, other: object, *rules: dict[str, object]) -> Case:
    sides = [Response(200, {}, "application/json", json.dumps(value)) for value in (one, other)]
    return Case(sides[0], sides[1], list(rules))


def test_the_report_of_a_case_is_python_that_shows_both_results() -> None:
    """The reported Python code prints the results of the comparison and of the reference."""
    case = _case({"a": [1, 2]}, {"a": [2, 1]}, {"unordered": "$.a"})
    printed: list[object] = []
    exec(report(case, "any fault"), {"print": printed.append})  # noqa: S102  made from values alone
    assert printed == [expected(*case, strict=True), run(*case)]


def test_shrinking_removes_all_that_the_fault_does_not_need() -> None:
    """Shrinking keeps only the member that causes the fault, and drops the unrelated rule."""
    case = _case({"a": [1, {"b": 2}], "c": 3}, {"a": [1, {"b": 5}], "c": 3}, {"ignore": "$.c"}, {"subset": "$"})
    small = shrink(case, lambda less: expected(*less, strict=True) == "mismatch" and '"b"' in less.one.body)
    assert (json.loads(small.one.body), json.loads(small.other.body), small.rules) == ({"a": [{"b": 2}]}, {}, [])


def test_a_seed_always_gives_the_same_case() -> None:
    """Each seed always gives the same case, so a failing seed can be run again."""
    assert [case_of(seed) for seed in range(50)] == [case_of(seed) for seed in range(50)]
