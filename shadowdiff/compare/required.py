"""Check preconditions: places, such as a data version, that must be equal before a pair is compared."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from shadowdiff.compare.coding import CodingError
from shadowdiff.compare.formats import BrokenBodyError, read_value
from shadowdiff.compare.headers import all_of
from shadowdiff.compare.work import Budget
from shadowdiff.rules.json_values import MISSING, Missing, Value, same
from shadowdiff.rules.jsonpath import Index, Name, Query, Selector, Slice, Wildcard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.model import Observation, Pair
    from shadowdiff.rules.compiled import Requirement


def unmet(pair: Pair, requirements: Sequence[Requirement], findings: Findings, messages: Descriptors | None) -> str:
    """Return the first unmet requirement as a reason; empty if all are met.

    If a body has no paths or does not conform to its type, no requirement applies, and the bodies are compared.
    """
    primary, candidate = pair.primary, pair.candidate
    values: tuple[Value | Missing, ...] = ()
    for requirement in requirements:
        name = requirement.header
        if name:
            if all_of(primary.headers, name) != all_of(candidate.headers, name):
                return requirement.label
            continue
        if primary.body == candidate.body:
            continue
        if not values:
            values = tuple(_document(side, pair.route, findings, messages) for side in (primary, candidate))
        one, other = values
        if isinstance(one, Missing) or isinstance(other, Missing):
            continue
        nodes, nodes_other = (select(requirement.query, value, findings.budget) for value in (one, other))
        if not _all_same(nodes, nodes_other, findings.budget):
            return requirement.label
    return ""


def _all_same(one: list[Value], other: list[Value], budget: Budget) -> bool:
    """Whether two lists of nodes are equal; each distinct pair of nodes is compared once."""
    if len(one) != len(other):
        return False
    pairs = {(id(node), id(against)): (node, against) for node, against in zip(one, other, strict=True)}
    for node, against in pairs.values():
        deque(_paid(_descend(node), budget), maxlen=0)
        if not same(node, against):
            return False
    return True


def _document(side: Observation, route: str, findings: Findings, messages: Descriptors | None) -> Value | Missing:
    try:
        value = read_value(side, route, findings.limits, messages, budget=findings.budget)
    except CodingError:
        return MISSING
    return MISSING if isinstance(value, BrokenBodyError) else value


def select(query: Query, value: Value, budget: Budget | None = None) -> list[Value]:
    """Return the nodes that a query selects from a value: elements in order, members in the order of their names.

    Raises: TooComplexError, because many descendant segments can select the same nodes repeatedly.
    """
    budget = budget or Budget()
    nodes = [value]
    for segment in query:
        if segment.descendant:
            nodes = list(_paid((below for node in nodes for below in _descend(node)), budget))
        children = (child for node in nodes for selector in segment.selectors for child in _children(node, selector))
        nodes = list(_paid(children, budget))
    return nodes


def _paid(nodes: Iterator[Value], budget: Budget) -> Iterator[Value]:
    for node in nodes:
        budget.spend(1)
        yield node


def _descend(node: Value) -> Iterator[Value]:
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        if isinstance(here, dict):
            stack.extend(reversed(_by_name(here)))
        elif isinstance(here, list):
            stack.extend(reversed(here))


def _by_name(node: dict[str, Value]) -> list[Value]:
    """Return the members' values in the order of their names, because the order of members does not matter."""
    return [node[name] for name in sorted(node)]


def _children(node: Value, selector: Selector) -> Iterable[Value]:
    match node, selector:
        case dict(), Name(name=name):
            return [node[name]] if name in node else []
        case dict(), Wildcard():
            return _by_name(node)
        case list(), Index(index=index):
            return [node[index]] if -len(node) <= index < len(node) else []
        case list(), Slice(start=start, stop=stop, step=step):
            return node[start:stop:step] if step else []
        case list(), Wildcard():
            return node
        case _:
            return []
