"""Parse RFC 9535 JSONPath queries such as `$.items[*]['unit price']` or `$..id` into segments.

The parser accepts only valid RFC 9535. It rejects filters (`?…`), because a rule names places, not values. The module
`automaton` matches queries.
"""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import Final, NoReturn, cast

import msgspec


class PathError(ValueError):
    """A query is not valid RFC 9535, or uses a feature that rules do not support."""


class Name(msgspec.Struct, frozen=True):
    """Selects the member with this name."""

    name: str


class Wildcard(msgspec.Struct, frozen=True):
    """Selects every child."""


class Index(msgspec.Struct, frozen=True):
    """Selects one element. A negative index counts from the end."""

    index: int

    def selects(self, index: int, length: int) -> bool:
        """Return whether this selects the element at `index` in an array of `length` elements."""
        return index == (self.index if self.index >= 0 else length + self.index)


class Slice(msgspec.Struct, frozen=True):
    """Selects elements like a Python slice, but a step of 0 selects nothing."""

    start: int | None
    stop: int | None
    step: int

    def selects(self, index: int, length: int) -> bool:
        """Return whether the slice selects the element at `index` in an array of `length` elements."""
        if self.step == 0:
            return False
        return index in range(*slice(self.start, self.stop, self.step).indices(length))


Selector = Name | Wildcard | Index | Slice


class Segment(msgspec.Struct, frozen=True):
    """One step. Selectors apply to a node's children; in a descendant segment, they also apply to all nodes below."""

    selectors: tuple[Selector, ...]
    descendant: bool = False


Query = tuple[Segment, ...]

_BLANK: Final = r"[ \t\n\r]*"
_BLANKS: Final = re.compile(_BLANK)
_SHORTHAND: Final = re.compile(
    r"[A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff][A-Za-z0-9_\u0080-\ud7ff\ue000-\U0010ffff]*|\{(?:json|form)\}"
)
"""A name, or a step into a document that a string holds."""
_INTEGER: Final = "(0|-?[1-9][0-9]*)"
_INDEX_OR_SLICE: Final = re.compile(
    f"{_INTEGER}?(?:{_BLANK}(:){_BLANK}{_INTEGER}?(?:{_BLANK}:(?:{_BLANK}{_INTEGER})?)?)?"
)
_HEX4: Final = re.compile(r"u([0-9A-Fa-f]{4})")
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}
_EXACT_INTEGER: Final = 2**53 - 1


def parse_query(text: str) -> Query:
    """Return the segments of an RFC 9535 query. Raises: PathError with the position and the expected syntax."""
    return _Parser(text).query()


class _Parser:
    """A recursive descent parser for one query, based on the grammar in RFC 9535 section 2."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def query(self) -> Query:
        if not self._take("$"):
            self._fail("a path must begin with '$'")
        segments: list[Segment] = []
        while self._at < len(self._text):
            start = self._at
            self._blank()
            if self._at == len(self._text):
                self._at = start
                self._fail("remove the blanks at the end")
            segments.append(self._segment())
        return tuple(segments)

    def _segment(self) -> Segment:
        descendant = self._take("..")
        if self._peek() == "[":
            return Segment(self._bracketed(), descendant)
        if not descendant and not self._take("."):
            self._fail("expected '.', '..' or '['")
        if self._take("*"):
            return Segment((Wildcard(),), descendant)
        found = _SHORTHAND.match(self._text, self._at)
        if found is None:
            self._fail("expected a name, '*' or '['; write other names as ['the name']")
        self._at = found.end()
        return Segment((Name(found.group()),), descendant)

    def _bracketed(self) -> tuple[Selector, ...]:
        self._at += 1
        selectors: list[Selector] = []
        while True:
            self._blank()
            selectors.append(self._selector())
            self._blank()
            if self._take("]"):
                return tuple(selectors)
            if not self._take(","):
                self._fail("expected ',' or ']' after a selector")

    def _selector(self) -> Selector:
        head = self._peek()
        if head in {"'", '"'}:
            return Name(self._string(head))
        if self._take("*"):
            return Wildcard()
        if head == "?":
            self._fail("filters are not supported: a rule names places, not values")
        return self._index_or_slice()

    def _index_or_slice(self) -> Selector:
        found = cast("re.Match[str]", _INDEX_OR_SLICE.match(self._text, self._at))  # it also matches empty text
        start, stop, step = (self._integer(found, group) for group in (1, 3, 4))
        if start is None and not found[2]:
            self._fail("expected a quoted name, '*', an index or a slice inside the brackets")
        self._at = found.end()
        return Slice(start, stop, 1 if step is None else step) if found[2] else Index(start or 0)

    def _integer(self, found: re.Match[str], group: int) -> int | None:
        digits: str | None = found[group]
        if digits is not None and (len(digits) > 17 or abs(int(digits)) > _EXACT_INTEGER):  # noqa: PLR2004
            self._at = found.start(group)
            self._fail("an index must be at most 2^53 - 1")
        return None if digits is None else int(digits)

    def _string(self, quote: str) -> str:
        self._at += 1
        parts: list[str] = []
        while (char := self._peek()) != quote:
            if not char or char < " " or "\ud800" <= char <= "\udfff":
                self._fail(f"the name is not closed with {quote}" if not char else "this character must be escaped")
            self._at += 1
            parts.append(self._escape(quote) if char == "\\" else char)
        self._at += 1
        return "".join(parts)

    def _escape(self, quote: str) -> str:
        char = self._peek()
        if char == "u":
            return self._unicode()
        if char != quote and char not in _ESCAPES:
            self._fail("there is no such escape")
        self._at += 1
        return _ESCAPES.get(char, char)

    def _unicode(self) -> str:
        code = self._hex4()
        if "\udc00" <= code <= "\udfff":
            self._fail("a low surrogate needs a high surrogate before it")
        if "\ud800" <= code <= "\udbff":
            if not self._take("\\") or not "\udc00" <= (low := self._hex4()) <= "\udfff":
                self._fail("a high surrogate needs a low surrogate after it")
            return (code + low).encode("utf-16", "surrogatepass").decode("utf-16")
        return code

    def _hex4(self) -> str:
        found = _HEX4.match(self._text, self._at)
        if found is None:
            self._fail("expected four hex digits after \\u")
        self._at = found.end()
        return chr(int(found[1], 16))

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, expected: str) -> bool:
        if not self._text.startswith(expected, self._at):
            return False
        self._at += len(expected)
        return True

    def _blank(self) -> None:
        self._at = cast("re.Match[str]", _BLANKS.match(self._text, self._at)).end()

    def _fail(self, expected: str) -> NoReturn:
        raise PathError(f"{self._text!r} at position {self._at}: {expected}")


_PLAIN: Final = re.compile(r"[^\x00-\x1f'\\\ud800-\udfff]*")


def name_step(name: str) -> str:
    """Return `['name']`, escaped as RFC 9535 section 2.7 requires."""
    if _PLAIN.fullmatch(name):
        return f"['{name}']"
    quoted = json.dumps(name, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return "['" + "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in quoted) + "']"


def is_singular(query: Query) -> bool:
    """Return whether the query has only names; such a query selects one place at most."""
    return all(
        len(segment.selectors) == 1 and isinstance(segment.selectors[0], Name) and not segment.descendant
        for segment in query
    )


def names_of(query: Query) -> tuple[str, ...]:
    """Return the names of a singular query."""
    return tuple(selector.name for segment in query for selector in segment.selectors if isinstance(selector, Name))


def split_common(one: Query, other: Query) -> tuple[Query, Query, Query]:
    """Return the common start of two queries, and the rest of each query."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return one[:shared], one[shared:], other[shared:]
