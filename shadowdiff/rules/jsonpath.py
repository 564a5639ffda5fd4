"""RFC 9535 JSONPath: text to segments, and paths of nodes back to normalized text.

In: a query such as `$.items[*]['unit price']` or `$..id`.  Out: its segments, each a tuple of selectors.
Holds: what this module accepts is valid RFC 9535; a filter (`?…`) is refused by name, since a rule names places,
not values. Matching is the automaton's work.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class PathError(ValueError):
    """A query is not RFC 9535, or uses what rules do not support."""


class Name(msgspec.Struct, frozen=True):
    """Selects the member of that name."""

    name: str


class Wildcard(msgspec.Struct, frozen=True):
    """Selects every child."""


class Index(msgspec.Struct, frozen=True):
    """Selects one element; negative counts from the end."""

    index: int

    def selects(self, index: int, length: int) -> bool:
        """Whether the element at `index` of an array of `length` is the one."""
        return index == (self.index if self.index >= 0 else length + self.index)


class Slice(msgspec.Struct, frozen=True):
    """Selects elements as Python's slices do, except that a step of 0 selects nothing."""

    start: int | None
    stop: int | None
    step: int

    def selects(self, index: int, length: int) -> bool:
        """Whether the element at `index` of an array of `length` is in the slice."""
        if self.step == 0:
            return False
        return index in range(*slice(self.start, self.stop, self.step).indices(length))


Selector = Name | Wildcard | Index | Slice


class Segment(msgspec.Struct, frozen=True):
    """One step: its selectors apply to the children, or (descendant) to every node below as well."""

    selectors: tuple[Selector, ...]
    descendant: bool = False


Query = tuple[Segment, ...]

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_SHORTHAND: Final = re.compile(r"[A-Za-z_\u0080-\ud7ff\ue000-\U0010ffff][A-Za-z0-9_\u0080-\ud7ff\ue000-\U0010ffff]*")
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*")
_HEX4: Final = re.compile(r"[0-9A-Fa-f]{4}")
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}
_EXACT_INTEGER: Final = 2**53 - 1


def parse_query(text: str) -> Query:
    """Return the segments of an RFC 9535 query.

    Raises: PathError, with the position and what was expected there.
    """
    return _Parser(text).query()


class _Parser:
    """Recursive descent over one query, as RFC 9535 section 2 spells it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def query(self) -> Query:
        if not self._take("$"):
            self._fail("a path begins with '$'")
        segments: list[Segment] = []
        while self._at < len(self._text):
            start = self._at
            self._blank()
            if self._at == len(self._text):
                self._at = start
                self._fail("no blanks at the end")
            segments.append(self._segment())
        return tuple(segments)

    def _segment(self) -> Segment:
        descendant = self._take("..")
        if self._peek() == "[":
            return Segment(self._bracketed(), descendant)
        if not descendant and not self._take("."):
            self._fail("'.', '..' or '[' goes on from here")
        if self._take("*"):
            return Segment((Wildcard(),), descendant)
        found = _SHORTHAND.match(self._text, self._at)
        if found is None:
            self._fail("a name, '*' or '[' follows; write other names as ['the name']")
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
                self._fail("',' or ']' follows a selector")

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
        start = self._integer()
        before = self._at
        self._blank()
        if not self._take(":"):
            self._at = before
            if start is None:
                self._fail("a quoted name, '*', an index or a slice stands inside brackets")
            return Index(start)
        self._blank()
        stop = self._integer()
        before = self._at
        self._blank()
        if not self._take(":"):
            self._at = before
            return Slice(start, stop, 1)
        before = self._at
        self._blank()
        step = self._integer()
        if step is None:
            self._at = before
        return Slice(start, stop, 1 if step is None else step)

    def _integer(self) -> int | None:
        found = _INTEGER.match(self._text, self._at)
        if found is None:
            return None
        value = int(found.group()) if len(found.group()) < 18 else _EXACT_INTEGER + 1  # noqa: PLR2004
        if abs(value) > _EXACT_INTEGER:
            self._fail("an index stays within 2^53 - 1")
        self._at = found.end()
        return value

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
            self._fail("no such escape")
        self._at += 1
        return _ESCAPES.get(char, char)

    def _unicode(self) -> str:
        code = self._hex4()
        if 0xDC00 <= code <= 0xDFFF:  # noqa: PLR2004
            self._fail("a low surrogate stands alone")
        if not 0xD800 <= code <= 0xDBFF:  # noqa: PLR2004
            return chr(code)
        if not self._take("\\"):
            self._fail("a high surrogate stands alone")
        low = self._hex4()
        if not 0xDC00 <= low <= 0xDFFF:  # noqa: PLR2004
            self._fail("a high surrogate stands alone")
        return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00))

    def _hex4(self) -> int:
        found = _HEX4.match(self._text, self._at + 1) if self._peek() == "u" else None
        if found is None:
            self._fail("\\u takes four hex digits")
        self._at = found.end()
        return int(found.group(), 16)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, expected: str) -> bool:
        if not self._text.startswith(expected, self._at):
            return False
        self._at += len(expected)
        return True

    def _blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _fail(self, expected: str) -> NoReturn:
        raise PathError(f"{self._text!r} at position {self._at}: {expected}")


_PLAIN: Final = re.compile(r"[^\x00-\x1f'\\\ud800-\udfff]*")


def name_step(name: str) -> str:
    """Return `['name']` with the escapes of RFC 9535 section 2.7."""
    if _PLAIN.fullmatch(name):
        return f"['{name}']"
    quoted = json.dumps(name, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return "['" + "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in quoted) + "']"


def normalized(steps: Sequence[str | int]) -> str:
    """Return the normalized path of a node: names quoted, indexes in brackets."""
    return "$" + "".join(name_step(step) if isinstance(step, str) else f"[{step}]" for step in steps)
