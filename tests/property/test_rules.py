"""The automaton selects what RFC 9535 selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare.select import select
from shadowdiff.rules.automaton import Automaton, State
from shadowdiff.rules.jsonpath import parse_query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.compare.values import Value

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
    """Yield (query, identity of the node) for each node that a query selects."""
    yield from ((query, id(value)) for query in state.effect)
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _selected(member, state.member(name))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _selected(element, state.element(index, len(value)))


def _distinct(value: Value) -> Value:
    """Return the value with leaves that are objects of their own, so that a node has an identity."""
    if isinstance(value, dict):
        return {name: _distinct(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_distinct(element) for element in value]
    return float(str(value))


@given(_documents, st.lists(_queries, min_size=1, max_size=4))
def test_the_automaton_selects_what_each_query_selects(document: Value, texts: list[str]) -> None:
    """All queries at once, against one query at a time."""
    document = _distinct(document)
    queries = [parse_query(text) for text in texts]
    automaton: Automaton[frozenset[int]] = Automaton(queries, lambda selected: selected, frozenset())
    found = set(_selected(document, automaton.root))
    expected = {(index, id(node)) for index, query in enumerate(queries) for node in select(query, document)}
    assert found == expected
