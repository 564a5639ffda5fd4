"""Regular expressions of rules, on RE2: time linear in the text whatever the pattern, and a bound on matches.

In: an expression and what stands in its place.  Out: a `Mask`, applied to text.
Holds: a mask never raises; where its bound is reached it says so by returning None, and hides nothing.
"""

from __future__ import annotations

from typing import Final

import re2

MAX_MATCHES: Final = 20_000
_MAX_MEMORY_BYTES: Final = 8 << 20


class PatternError(ValueError):
    """An expression is not RE2's."""


class Mask:
    """An expression whose matches are replaced."""

    __slots__ = ("_expression", "_replacement", "pattern")

    def __init__(self, pattern: str, replacement: str) -> None:
        """Compile the pattern.

        Raises: PatternError, with RE2's own words.
        """
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MAX_MEMORY_BYTES
        try:
            self._expression = re2.compile(pattern, options=options)
        except re2.error as error:
            said: object = error.args[0] if error.args else "unknown"
            raise PatternError(said.decode() if isinstance(said, bytes) else str(said)) from error
        self.pattern = pattern
        self._replacement = replacement.encode()

    def apply(self, text: str) -> bytes | None:
        """Return the text with every match replaced, as UTF-8; None where there are too many matches."""
        source = text.encode("utf-8", "surrogatepass")
        pieces: list[bytes] = []
        end = 0
        for found in self._expression.finditer(source):
            if len(pieces) >= 2 * MAX_MATCHES:
                return None
            start, stop = found.span()
            pieces += (source[end:start], self._replacement)
            end = stop
        pieces.append(source[end:])
        return b"".join(pieces)
