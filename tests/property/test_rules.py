"""The automaton selects the nodes that RFC 9535 defines, and agrees with a simple recursion on query containment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare.required import select
from shadowdiff.rules import automaton as automaton_module
from shadowdiff.rules.automaton import Automaton, State
from shadowdiff.rules.containment import Containment
from shadowdiff.rules.jsonpath import Name, Query, Segment, Selector, Slice, Wildcard, parse_query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.rules.json_values import Value

_steps = st.sampled_from([".a", ".b", ".*", "[*]", "[0]", "[-1]", "[1:]", "[::2]", "['a','b']", "[0,'a']"])
_queries = st.lists(st.tuples(st.booleans(), _steps), max_size=4).map(
    lambda steps: "$" + "".join(("." if step[0] == "." else "..") * far + step for far, step in steps)
)
_leaf = st.integers(0, 3)
_documents: st.SearchStrategy[Value] = st.recursive(
    _leaf,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(st.sampled_from("abc"), below, max_size=3)),
    max_leaves=14,
)


def _selected(value: Value, state: State[frozenset[int]]) -> Iterator[tuple[int, int]]:
    """For each node that a query selects, yield the query and the node's identity."""
    yield from ((query, id(value)) for query in state.effect)
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _selected(member, state.member(name))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _selected(element, state.element(index, len(value)))


def _distinct(value: Value) -> Value:
    """Return a copy of the value in which each leaf is a separate object, so each node has its own identity."""
    if isinstance(value, dict):
        return {name: _distinct(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_distinct(element) for element in value]
    return float(str(value))


@given(_documents, st.lists(_queries, min_size=1, max_size=4))
def test_the_automaton_selects_what_each_query_selects(document: Value, texts: list[str]) -> None:
    """The automaton selects the same nodes with all queries at once as with one query at a time."""
    document = _distinct(document)
    queries = [parse_query(text) for text in texts]
    automaton: Automaton[frozenset[int]] = Automaton(queries, lambda selected: selected, frozenset())
    found = set(_selected(document, automaton.root))
    expected = {(index, id(node)) for index, query in enumerate(queries) for node in select(query, document)}
    assert found == expected


@pytest.mark.parametrize("states_bytes", [0, 3000])
@given(_documents, st.lists(_queries, min_size=1, max_size=4))
def test_the_automaton_selects_the_same_without_memory(states_bytes: int, document: Value, texts: list[str]) -> None:
    """The automaton rebuilds states that it has evicted."""
    document = _distinct(document)
    queries = [parse_query(text) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(automaton_module, "STATES_BYTES", states_bytes)
        small: Automaton[frozenset[int]] = Automaton(queries, lambda selected: selected, frozenset())
        found = set(_selected(document, small.root))
        again = set(_selected(document, small.root))
    expected = {(index, id(node)) for index, query in enumerate(queries) for node in select(query, document)}
    assert [expected, expected] == [found, again]


def _takes(mine: Selector, theirs: Selector) -> bool:
    if isinstance(mine, Wildcard) or mine == theirs:
        return True
    if isinstance(mine, Name) or isinstance(theirs, (Name, Wildcard)):
        return False
    return isinstance(mine, Slice) and mine.stop is None and not mine.start and mine.step == 1


def _wide(outer: Segment, inner: Segment) -> bool:
    return all(any(_takes(mine, theirs) for mine in outer.selectors) for theirs in inner.selectors)


def _contains(outer: Query, inner: Query) -> bool:
    """Return by recursion, in exponential time, whether one query contains another."""
    if not outer:
        return True
    if not inner:
        return False
    first, second = outer[0], inner[0]
    if second.descendant and not first.descendant:
        if not any(isinstance(selector, Wildcard) for selector in first.selectors):
            return False
        return _contains(outer[1:], inner) and _contains(outer[1:], inner[1:])
    if _wide(first, second) and _contains(outer[1:], inner[1:]):
        return True
    return first.descendant and _contains(outer, inner[1:])


_wider_steps = st.sampled_from([".a", ".b", ".*", "[*]", "[0]", "[0:]", "[1:]", "['a','b']", "[0,'a']"])
_wider = st.lists(st.tuples(st.booleans(), _wider_steps), max_size=6).map(
    lambda steps: "$" + "".join(("." if step[0] == "." else "..") * far + step for far, step in steps)
)


@given(st.lists(_wider, min_size=1, max_size=5), _wider)
def test_a_plain_recursion_agrees_on_containment(outer: list[str], inner: str) -> None:
    """A check of many outer queries at once gives the same result as simple recursion for each."""
    queries = [parse_query(text) for text in outer]
    expected = [number for number, query in enumerate(queries) if _contains(query, parse_query(inner))]
    assert expected == Containment(queries).containing(parse_query(inner))
