"""The results of a search for secrets, and the limits of its work.

Each repeated step charges units before it runs, so equal texts always cost the same, and results do not depend on time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

Spend = Callable[[int], None]

UNITS_PER_MS: Final = 1000
"""The work units that one core does per millisecond: the minimum that `benchmarks/redaction.py` measures."""
INLINE_WORK: Final = 5 * UNITS_PER_MS
"""The work budget on the event loop, which is blocked meanwhile."""
SAMPLE_WORK: Final = 800 * UNITS_PER_MS
"""The work budget in a process. Even twice this budget ends before the default `limits.compare_ms`."""
CHARS_PER_UNIT: Final = 32
"""The number of characters that one work unit allows one scan to read."""


class TooMuchWorkError(Exception):
    """Redaction needs more work than its budget allows."""


class SecretSpan(NamedTuple):
    """The position of a secret, its text, and the quotation marks for its placeholder."""

    start: int
    end: int
    text: str
    quote: str = ""


def merge_spans(text: str, found: list[SecretSpan]) -> list[SecretSpan]:
    """Return the spans in order; merge overlapping spans."""
    found.sort(key=lambda one: (one.start, -one.end))
    out: list[SecretSpan] = []
    for one in found:
        if not out or one.start >= out[-1].end:
            out.append(one)
        elif one.end > out[-1].end:
            start = out[-1].start
            out[-1] = SecretSpan(start, one.end, text[start : one.end], out[-1].quote and one.quote)
    return out
