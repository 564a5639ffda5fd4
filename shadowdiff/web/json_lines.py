"""Write JSON text over lines that know their paths, as a page shows it.

In: JSON text, whole or cut short.  Out: lines, each with its depth, text and normalized path; None where it is no JSON.
Holds: every scalar as the side wrote it (`1.0` stays `1.0`); duplicate keys stay; depth and lines are bounded.
A second text can be written in the first one's order of keys, and its unordered arrays in the first one's order of
elements (what is left over beside what is most like it), so that a new order alone changes no line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from shadowdiff.compare import by_likeness

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_DEPTH: Final = 100
_TOKEN: Final = re.compile(r'\s*("[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]:,]|[^\s{}\[\]:,"]+)', re.DOTALL)
_CLOSES: Final = {"{": "}", "[": "]"}


class Line(NamedTuple):
    """One line: `text` without the comma that may follow it."""

    depth: int
    text: str
    path: str
    comma: bool = False


@dataclass(slots=True)
class Node:
    """A value: a scalar's text, or an object or array with its members; `awaits` is what must come next in it."""

    scalar: str = ""
    opens: str = ""
    keys: list[str] = field(default_factory=list[str])
    values: list[Node] = field(default_factory=list["Node"])
    cut: bool = False
    awaits: str = "first"


class _NotJsonError(Exception):
    """The text is no JSON, not even the start of some."""


def read(text: str) -> Node | None:
    """Return the value that a text says; where the text ends early, what it says up to there."""
    try:
        return _read(_TOKEN.findall(text))
    except _NotJsonError:
        return None


def lines(node: Node) -> list[Line]:
    """Return a value's lines."""
    return lines_like(node, None)[0]


def lines_like(node: Node, like: Node | None, unordered: Collection[str] = ()) -> tuple[list[Line], bool]:
    """Return a value's lines, its objects in the order of keys of `like` where that has them, and whether any moved.

    unordered: the paths of arrays whose elements stand in the order of `like` as well.
    """
    written: list[Line] = []
    writer = _Writer(written, frozenset(unordered))
    writer.write(node, like, _Place("", "$", 0))
    return written, writer.moved


class _Place(NamedTuple):
    """Where a value is written: what stands before it on its line, its path, its depth."""

    before: str
    path: str
    depth: int

    def below(self, node: Node, at: int, said: int) -> _Place:
        key = node.keys[at] if node.opens == "{" else ""
        step = f"['{_name(key)}']" if key else f"[{said}]"
        return _Place(f"{key}: " if key else "", self.path + step, self.depth + 1)

    def line(self, text: str) -> Line:
        return Line(self.depth, text, self.path)


def _read(tokens: list[str]) -> Node:
    root = Node(opens="[")
    stack = [root]
    for token in tokens:
        node = stack[-1]
        if token in (",", ":"):
            _separate(node, token, is_root=node is root)
        elif token in _CLOSES.values():
            if node is root or _CLOSES[node.opens] != token or node.awaits in _OPEN_ENDS:
                raise _NotJsonError
            stack.pop()
        elif node.opens == "{" and node.awaits in ("key", "first"):
            if not token.startswith('"'):
                raise _NotJsonError
            node.keys.append(token)
            node.awaits = ":"
        elif node.awaits not in ("value", "first") or len(stack) > MAX_DEPTH:
            raise _NotJsonError
        else:
            value = Node(opens=token) if token in _CLOSES else Node(scalar=token)
            node.values.append(value)
            node.awaits = ","
            stack.extend([value] if value.opens else [])
    return _finished(root, stack[1:])


_OPEN_ENDS: Final = ("key", ":", "value")
"""What is still awaited where a closing bracket would come too early."""


def _separate(node: Node, mark: str, *, is_root: bool) -> None:
    if node.awaits != mark or is_root:
        raise _NotJsonError
    node.awaits = "value" if mark == ":" or node.opens == "[" else "key"


def _finished(root: Node, unclosed: list[Node]) -> Node:
    """Return the one value of a text, those of its parts marked as cut that the text did not close."""
    for node in unclosed:
        node.cut = True
        del node.keys[len(node.values) :]
    if len(root.values) != 1:
        raise _NotJsonError
    return root.values[0]


class _Member(NamedTuple):
    """A member to write: where it stands, which number its path says, and what it is written like."""

    at: int
    said: int
    like: Node | None


class _Writer:
    """Writes values as lines; `unordered` are the paths of arrays whose order means nothing."""

    def __init__(self, written: list[Line], unordered: frozenset[str]) -> None:
        self._written = written
        self._unordered = unordered
        self.moved = False

    def write(self, node: Node, like: Node | None, place: _Place) -> None:
        """Write a value and all below it."""
        written = self._written
        if not node.opens:
            written.append(place.line(place.before + node.scalar))
            return
        closes = _CLOSES[node.opens]
        if not node.values and not node.cut:
            written.append(place.line(place.before + node.opens + closes))
            return
        written.append(place.line(place.before + node.opens))
        for number, (at, said, alike) in enumerate(self._members(node, like, place.path)):
            self.moved |= at != number
            self.write(node.values[at], alike, place.below(node, at, said))
            written[-1] = written[-1]._replace(comma=True)
        written[-1] = written[-1]._replace(comma=False)
        written.append(place.line("…" if node.cut else closes))

    def _members(self, node: Node, like: Node | None, path: str) -> list[_Member]:
        if path in self._unordered and node.opens == "[" and like is not None and like.opens == "[":
            return _nearest(node, like)
        places = _places(like) if like is not None and like.opens == "{" else {}
        return [_Member(at, at, _member(node, like, at, places)) for at in _order(node, like)]


def _nearest(node: Node, like: Node) -> list[_Member]:
    """Return an array's elements in the order of those that they equal, or are most like; the others last.

    Each says the number of its partner, as comparisons do; one without a partner its own.
    """
    there: dict[str, list[int]] = {}
    for at, value in enumerate(like.values):
        there.setdefault(_text(value), []).append(at)
    partner: dict[int, int] = {}
    for at, value in enumerate(node.values):
        places = there.get(_text(value))
        if places:
            partner[at] = places.pop(0)
    ours = [at for at in range(len(node.values)) if at not in partner]
    theirs = sorted(at for places in there.values() for at in places)
    alike = by_likeness([_plain(like.values[at]) for at in theirs], [_plain(node.values[at]) for at in ours])
    partner |= {ours[at]: theirs[their] for their, at in alike}
    paired = sorted(partner, key=lambda at: partner[at])
    alone = [_Member(at, at, None) for at in ours if at not in partner]
    return [*(_Member(at, partner[at], like.values[partner[at]]) for at in paired), *alone]


def _text(node: Node) -> str:
    """Return a value as text that two values share where they are equal, whatever the order of their keys."""
    if not node.opens:
        return node.scalar
    inner = [_text(value) for value in node.values]
    if node.opens == "{":
        inner = sorted(f"{key}:{value}" for key, value in zip(node.keys, inner, strict=True))
    return node.opens + ",".join(inner) + ("…" if node.cut else "")


def _plain(node: Node) -> Any:
    """Return a value for a comparison of likeness: scalars as they are written."""
    if node.opens == "{":
        return {key: _text(value) for key, value in zip(node.keys, node.values, strict=True)}
    return [_text(value) for value in node.values] if node.opens else node.scalar


def _order(node: Node, like: Node | None) -> list[int]:
    """Return the members' places: those that `like` has in its order, the others where they stood."""
    if like is None or node.opens != "{" or like.opens != "{":
        return list(range(len(node.values)))
    rank = {key: at for at, key in enumerate(like.keys)}
    last = -1.0
    ranked: list[tuple[float, int]] = []
    for at, key in enumerate(node.keys):
        last = float(rank[key]) if key in rank else last + 1e-6
        ranked.append((last, at))
    return [at for _, at in sorted(ranked)]


def _member(node: Node, like: Node | None, at: int, places: dict[str, int]) -> Node | None:
    """Return what a member is written like: its namesake, or the element of its number."""
    if like is None or like.opens != node.opens:
        return None
    place = at if node.opens == "[" else places.get(node.keys[at], len(like.values))
    return like.values[place] if place < len(like.values) else None


def _places(node: Node) -> dict[str, int]:
    """Return where each key stands first."""
    return {key: at for at, key in reversed(list(enumerate(node.keys)))}


def _name(key: str) -> str:
    """Return a key as a normalized path writes it (RFC 9535, section 2.7)."""
    if _PLAIN_KEY.fullmatch(key):
        return key[1:-1]
    try:
        name = msgspec.json.decode(key, type=str)
    except msgspec.DecodeError:
        name = key.strip('"')
    return "".join(_ESCAPES.get(c, c if c >= " " else f"\\u{ord(c):04x}") for c in name)


_PLAIN_KEY: Final = re.compile(r'"[^"\\\'\x00-\x1f]*"')
_ESCAPES: Final = {"'": "\\'", "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
