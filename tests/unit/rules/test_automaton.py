"""The automaton stays within its limits of memory and work, and still selects the same nodes."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

from shadowdiff.rules import automaton as module
from shadowdiff.rules.automaton import Automaton, Meter, State
from shadowdiff.rules.jsonpath import parse_query

if TYPE_CHECKING:
    import pytest

    from shadowdiff.rules.jsonpath import Query

Tree = dict[str, "Tree"] | int


def tree(depth: int) -> Tree:
    """Return nested objects of this depth with the members `a` and `b`."""
    return {name: tree(depth - 1) for name in "ab"} if depth else 0


def branching(rules: int, segments: int) -> list[Query]:
    """Return queries whose positions differ after each path through a tree of `a` and `b`."""
    draw = random.Random(2)
    steps = ["".join(f"..{draw.choice('ab')}" for _ in range(segments)) for _ in range(rules)]
    return [parse_query(f"${way}.c{number}") for number, way in enumerate(steps)]


def walk(value: Tree, state: State[frozenset[int]]) -> int:
    """Take every step; return the number of nodes."""
    if isinstance(value, int):
        return 1
    return 1 + sum(walk(below, state.member(name)) for name, below in value.items())


class Spent:
    """Counts the charged work."""

    def __init__(self) -> None:
        self.units = 0

    def __call__(self, units: int) -> None:
        """Add a charge."""
        self.units += units


def metered(queries: list[Query]) -> tuple[Automaton[frozenset[int]], Spent]:
    """Return an automaton, and a counter of its work."""
    meter, spent = Meter(), Spent()
    made: Automaton[frozenset[int]] = Automaton(queries, lambda selected: selected, frozenset(), meter)
    meter.charge(spent)
    return made, spent


def test_a_thousand_branching_paths_stay_within_their_bytes() -> None:
    """As sets, the states of 2,047 nodes with up to 60,000 positions each would take gigabytes."""
    queries = branching(1000, 60)
    tracemalloc.start()
    try:
        made, _ = metered(queries)
        assert 2**11 - 1 == walk(tree(10), made.root)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * module.STATES_BYTES


def test_work_is_charged_and_grows_only_with_the_nodes() -> None:
    """Twice as many nodes cost about twice as much. The same walk costs the same even if the states exist."""
    queries = branching(300, 20)
    charged: list[int] = []
    for depth in (6, 7, 8):
        made, spent = metered(queries)
        walk(tree(depth), made.root)
        charged.append(spent.units)
    assert all(one < other < 3 * one for one, other in pairwise(charged))
    made, spent = metered(queries)
    walk(tree(6), made.root)
    first = spent.units
    walk(tree(6), made.root)
    assert first == spent.units > 0
    made.meter.charge(spent)
    walk(tree(6), made.root)
    assert 2 * first == spent.units


def test_each_element_is_charged_for_the_indexes_that_select_it() -> None:
    """A thousand slices over ten thousand elements are ten million comparisons."""
    made, spent = metered([parse_query(f"$[:{number}]") for number in range(1, 1001)])
    for index in range(100):
        made.root.element(index, 10_000)
    assert spent.units >= 100 * 1000


def test_states_that_are_not_kept_are_built_again_and_charged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no state fits in memory, every step costs the same each time, and the results are the same."""
    queries = branching(20, 5)
    kept, _ = metered(queries)
    monkeypatch.setattr(module, "STATES_BYTES", 0)
    made, spent = metered(queries)
    costs: list[int] = []
    for _ in range(2):
        before = spent.units
        walk(tree(5), made.root)
        costs.append(spent.units - before)
    assert costs[0] == costs[1] > 0
    for way in ("aab", "abab", "bbbbba"):
        one, other = kept.root, made.root
        for name in way:
            one, other = one.member(name), other.member(name)
        assert (one.effect, one.barren, one.by_index) == (other.effect, other.barren, other.by_index)


def test_a_route_starts_with_its_own_queries() -> None:
    """Queries of other routes never apply. States with the same positions are shared."""
    queries = [parse_query(path) for path in ("$.a", "$..b", "$.a.b")]
    made, _ = metered(queries)
    some = made.start([0, 2])
    assert {0} == some.member("a").effect
    assert {2} == some.member("a").member("b").effect
    assert frozenset() == some.member("b").effect
    assert made.start([0, 1, 2]) is made.root
