"""Patterns in rules. RE2 matches them in linear time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import re2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Spend = Callable[[int], None]

_CHARGED_MATCHES: Final = 256


class PatternError(ValueError):
    """A pattern is not valid RE2."""


def compiled(expression: str, memory_bytes: int = 8 << 20) -> re2.Expression:
    """Compile an expression. Raises: PatternError with RE2's message."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory_bytes
    try:
        return re2.compile(expression, options=options)
    except re2.error as error:
        message: object = error.args[0] if error.args else "unknown"
        raise PatternError(message.decode() if isinstance(message, bytes) else str(message)) from error


class Mask:
    """A pattern whose matches are replaced."""

    __slots__ = ("_expression", "_replacement", "pattern")

    def __init__(self, pattern: str, replacement: str) -> None:
        """Compile the pattern. Raises: PatternError with RE2's message."""
        self._expression = compiled(pattern)
        self.pattern = pattern
        self._replacement = replacement.encode()

    def matches(self, text: str) -> bool:
        """Return whether the text has at least one match."""
        return next(iter(self._expression.finditer(text.encode("utf-8", "surrogatepass"))), None) is not None

    def spans(self, text: str, spend: Spend) -> list[tuple[int, int]]:
        """Return the byte spans of the nonempty matches in the UTF-8 text."""
        return [span for span in self._charged(text.encode("utf-8", "surrogatepass"), spend) if span[1] > span[0]]

    def apply(self, text: str, spend: Spend = lambda _units: None) -> bytes:
        """Return the text as UTF-8 with every match replaced.

        spend: called regularly with the number of matches found; raises to stop a search with too many matches.
        """
        source = text.encode("utf-8", "surrogatepass")
        pieces: list[bytes] = []
        end = 0
        for start, stop in self._charged(source, spend):
            pieces += (source[end:start], self._replacement)
            end = stop
        return b"".join([*pieces, source[end:]])

    def _charged(self, source: bytes, spend: Spend) -> Iterator[tuple[int, int]]:
        found = 0
        for found, span in enumerate(self._spans(source), start=1):
            if found % _CHARGED_MATCHES == 0:
                spend(_CHARGED_MATCHES)
            yield span
        spend(found % _CHARGED_MATCHES)

    def _spans(self, source: bytes) -> Iterator[tuple[int, int]]:
        """Yield matches of whole characters. RE2 also matches empty text and single bytes of a character."""
        if source.isascii():
            yield from (found.span() for found in self._expression.finditer(source))
            return
        end = 0
        for found in self._expression.finditer(source):
            start, stop = found.span()
            if start == stop and _is_inside(source, start):
                continue
            while _is_inside(source, start):
                start -= 1
            while _is_inside(source, stop):
                stop += 1
            if stop > end or start >= end:
                yield max(start, end), stop
                end = stop


def _is_inside(source: bytes, place: int) -> bool:
    """Return whether an offset is inside a character."""
    return place < len(source) and source[place] & 0xC0 == 0x80  # noqa: PLR2004
