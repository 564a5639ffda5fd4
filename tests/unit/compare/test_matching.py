"""Matching finds a partner for each element that needs one, if possible."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare.unordered import FREE, Matching
from shadowdiff.compare.work import Budget

SIDE = 5
EDGES = st.frozensets(st.tuples(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1)))
OPTIONAL = st.frozensets(st.integers(0, SIDE - 1))


def _exists(edges: frozenset[tuple[int, int]], optional: frozenset[int], optional_other: frozenset[int]) -> bool:
    """Return whether an assignment exists, by trying every set of edges."""
    for size in range(SIDE + 1):
        for chosen in combinations(sorted(edges), size):
            left, right = {index for index, _ in chosen}, {against for _, against in chosen}
            alone, alone_other = set(range(SIDE)) - left, set(range(SIDE)) - right
            if len(left) == len(right) == size and alone <= optional and alone_other <= optional_other:
                return True
    return False


@given(EDGES, OPTIONAL, OPTIONAL)
def test_each_element_that_needs_a_partner_gets_one_if_that_is_possible(
    edges: frozenset[tuple[int, int]], optional: frozenset[int], optional_other: frozenset[int]
) -> None:
    """The search agrees with trying every set of edges, and only pairs elements that fit."""
    matching = Matching(SIDE, SIDE, Budget())
    found = all(
        matching.find_partner(index, lambda at: [y for x, y in edges if x == at], optional.__contains__)
        for index in range(SIDE)
        if index not in optional and matching.partners[0][index] == FREE
    ) and all(
        matching.find_partner(against, lambda at: [x for x, y in edges if y == at], optional_other.__contains__, side=1)
        for against in range(SIDE)
        if against not in optional_other and matching.partners[1][against] == FREE
    )
    assert found == _exists(edges, optional, optional_other)
    assert set(matching.pairs()) <= edges
    assert [matching.partners[1][against] for _, against in matching.pairs()] == [
        index for index, _ in matching.pairs()
    ]


def test_partners_are_exchanged_along_a_path() -> None:
    """An element takes the partner of another one that can have a different partner."""
    matching = Matching(2, 2, Budget())
    matching.join(0, 0)
    edges = {0: [0, 1], 1: [0]}
    assert matching.find_partner(1, edges.__getitem__, lambda _: False)
    assert matching.pairs() == [(0, 1), (1, 0)]
