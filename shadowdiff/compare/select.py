"""Select the nodes of one value that a query names, as RFC 9535 orders them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.rules.jsonpath import Index, Name, Query, Selector, Slice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.compare.values import Value


def select(query: Query, value: Value) -> list[Value]:
    """Return the selected nodes."""
    nodes = [value]
    for segment in query:
        if segment.descendant:
            nodes = [below for node in nodes for below in _descend(node)]
        nodes = [child for node in nodes for selector in segment.selectors for child in _children(node, selector)]
    return nodes


def _descend(node: Value) -> Iterator[Value]:
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        if isinstance(here, dict):
            stack.extend(reversed(here.values()))
        elif isinstance(here, list):
            stack.extend(reversed(here))


def _children(node: Value, selector: Selector) -> Iterator[Value]:
    if isinstance(node, dict):
        if isinstance(selector, Name):
            if selector.name in node:
                yield node[selector.name]
        elif not isinstance(selector, (Index, Slice)):
            yield from node.values()
    elif isinstance(node, list) and not isinstance(selector, Name):
        yield from _elements(node, selector)


def _elements(node: list[Value], selector: Selector) -> Iterator[Value]:
    if isinstance(selector, Index):
        if -len(node) <= selector.index < len(node):
            yield node[selector.index]
    elif isinstance(selector, Slice):
        if selector.step:
            yield from node[selector.start : selector.stop : selector.step]
    else:
        yield from node
