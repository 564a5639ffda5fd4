"""Lay out JSON text as lines, each with its path.

Truncated JSON works too. Scalars keep their notation (`1.0` stays `1.0`), and duplicate keys are kept. Depth and the
number of lines are limited. A second text can be laid out in the first text's key order and, in unordered arrays, its
element order, so that a different order does not change any line.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from shadowdiff.compare import by_likeness
from shadowdiff.rules.jsonpath import name_step

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_DEPTH: Final = 100
_TOKEN: Final = re.compile(r'\s*("[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]:,]|[^\s{}\[\]:,"]+)', re.DOTALL)
_CLOSES: Final = {"{": "}", "[": "]"}
_INCOMPLETE: Final = ("key", ":", "value")
"""States in which a closing bracket is a syntax error."""


class Line(NamedTuple):
    """One line.  comma: whether a comma follows `text`."""

    depth: int
    text: str
    path: str
    comma: bool = False


@dataclass(slots=True)
class Node:
    """A value: a scalar's text, or an object or array with its members.  awaits: the next expected token."""

    scalar: str = ""
    opens: str = ""
    keys: list[str] = field(default_factory=list[str])
    values: list[Node] = field(default_factory=list["Node"])
    cut: bool = False
    awaits: str = "first"


_Member = tuple[int, int, Node | None]
"""A member to write: its position in the value, the index in its path, and the value that it is aligned with."""


def read(text: str) -> Node | None:
    """Return the value of a JSON text, even if the text is truncated; None if the text is not JSON."""
    root = Node(opens="[")
    stack = [root]
    for part in _TOKEN.findall(text):
        node = stack[-1]
        if part in (",", ":"):
            if node.awaits != part or node is root:
                return None
            node.awaits = "value" if part == ":" or node.opens == "[" else "key"
        elif part in _CLOSES.values():
            if node is root or _CLOSES[node.opens] != part or node.awaits in _INCOMPLETE:
                return None
            stack.pop()
        elif node.opens == "{" and node.awaits in ("key", "first"):
            if not part.startswith('"'):
                return None
            node.keys.append(part)
            node.awaits = ":"
        elif node.awaits not in ("value", "first") or len(stack) > MAX_DEPTH:
            return None
        else:
            value = Node(opens=part) if part in _CLOSES else Node(scalar=part)
            node.values.append(value)
            node.awaits = ","
            stack.extend([value] if value.opens else [])
    for node in stack[1:]:
        node.cut = True
        del node.keys[len(node.values) :]
    return root.values[0] if len(root.values) == 1 else None


def lines_like(node: Node, like: Node | None = None, unordered: Collection[str] = ()) -> tuple[list[Line], bool]:
    """Return a value's lines with keys in the order of `like`, and whether any key moved.

    unordered: paths of arrays whose elements also follow the order of `like`.
    """
    writer = _Writer(frozenset(unordered))
    writer.write(node, like, "", "$", 0)
    return writer.lines, writer.moved


class _Writer:
    """Writes values as lines.  unordered: paths of arrays whose order does not matter."""

    def __init__(self, unordered: frozenset[str]) -> None:
        self.lines: list[Line] = []
        self.moved = False
        self._unordered = unordered

    def write(self, node: Node, like: Node | None, before: str, path: str, depth: int) -> None:
        """Write a value and everything below it.  before: the text in front of the value on its line."""
        closes = _CLOSES.get(node.opens, "")
        if not node.values and not node.cut:
            self.lines.append(Line(depth, before + node.scalar + node.opens + closes, path))
            return
        self.lines.append(Line(depth, before + node.opens, path))
        for number, (at, index, alike) in enumerate(self._members(node, like, path)):
            self.moved |= at != number
            if node.opens == "{":
                self.write(node.values[at], alike, f"{node.keys[at]}: ", path + _step(node.keys[at]), depth + 1)
            else:
                self.write(node.values[at], alike, "", f"{path}[{index}]", depth + 1)
            self.lines[-1] = self.lines[-1]._replace(comma=True)
        self.lines[-1] = self.lines[-1]._replace(comma=False)
        self.lines.append(Line(depth, "…" if node.cut else closes, path))

    def _members(self, node: Node, like: Node | None, path: str) -> list[_Member]:
        if like is None or like.opens != node.opens:
            return [(at, at, None) for at in range(len(node.values))]
        if node.opens == "{":
            return _by_key(node, like)
        if path in self._unordered:
            return _nearest(node, like)
        return [(at, at, like.values[at] if at < len(like.values) else None) for at in range(len(node.values))]


def _by_key(node: Node, like: Node) -> list[_Member]:
    """Return an object's members: common keys in the order of `like`, other keys after their predecessors."""
    first = {key: at for at, key in reversed(list(enumerate(like.keys)))}
    rank = {key: at for at, key in enumerate(like.keys)}
    last = -1.0
    ranked: list[tuple[float, int]] = []
    for at, key in enumerate(node.keys):
        last = float(rank[key]) if key in rank else last + 1e-6
        ranked.append((last, at))
    order = [(at, node.keys[at]) for _, at in sorted(ranked)]
    return [(at, at, like.values[first[key]] if key in first else None) for at, key in order]


def _nearest(node: Node, like: Node) -> list[_Member]:
    """Return an array's elements in the order of the most similar elements of `like`; unmatched elements come last.

    As in comparisons, a matched element gets its partner's index, and an unmatched element keeps its own.
    """
    unmatched: defaultdict[str, list[int]] = defaultdict(list)
    for at, value in enumerate(like.values):
        unmatched[_text(value)].append(at)
    partner: dict[int, int] = {}
    for at, value in enumerate(node.values):
        if equal := unmatched.get(_text(value)):
            partner[at] = equal.pop(0)
    ours = [at for at in range(len(node.values)) if at not in partner]
    theirs = sorted(at for positions in unmatched.values() for at in positions)
    alike = by_likeness([_plain(like.values[at]) for at in theirs], [_plain(node.values[at]) for at in ours])
    partner |= {ours[at]: theirs[their] for their, at in alike}
    paired = [(at, index, like.values[index]) for at, index in sorted(partner.items(), key=lambda item: item[1])]
    return [*paired, *((at, at, None) for at in ours if at not in partner)]


def _text(node: Node) -> str:
    """Return a text that is the same for equal values, even if their keys have a different order."""
    inner = [_text(value) for value in node.values]
    if node.opens == "{":
        inner = sorted(f"{key}:{value}" for key, value in zip(node.keys, inner, strict=True))
    return node.scalar + node.opens + ",".join(inner) + ("…" if node.cut else "")


def _plain(node: Node) -> Any:
    """Return a value for `by_likeness`, with scalars in their original notation."""
    if node.opens == "{":
        return {key: _text(value) for key, value in zip(node.keys, node.values, strict=True)}
    return [_text(value) for value in node.values] if node.opens else node.scalar


def _step(key: str) -> str:
    """Return a key in the notation of a normalized path."""
    try:
        return name_step(msgspec.json.decode(key, type=str))
    except msgspec.DecodeError:
        return name_step(key.strip('"'))
