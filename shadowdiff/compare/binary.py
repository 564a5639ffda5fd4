"""Where two runs of bytes differ: the offset, and how many bytes lie there on each side.

In: both bodies.  Out: `bytes` differences; a path is `bytes[offset]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.model import Kind

if TYPE_CHECKING:
    from shadowdiff.compare.finding import Findings

_SHOWN_BYTES: Final = 16


def compare_bytes(one: bytes, other: bytes, findings: Findings, rule: str | None) -> None:
    """Note the stretch between the first and the last byte that differ."""
    start = _agreeing(one, other)
    rest = min(len(one), len(other)) - start
    tail, tail_other = one[len(one) - rest :][::-1], other[len(other) - rest :][::-1]
    end = _agreeing(tail, tail_other)
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    findings.place(f"bytes[{start}]", Kind.BYTES, _shown(left), _shown(right), rule, pattern="bytes[*]")


def _shown(part: bytes) -> str:
    more = "…" if len(part) > _SHOWN_BYTES else ""
    return f"{size(len(part))}: {part[:_SHOWN_BYTES].hex(' ')}{more}" if part else "0 bytes"


def size(count: int) -> str:
    """Say how many bytes."""
    return f"{count} byte" if count == 1 else f"{count} bytes"


def _agreeing(one: bytes, other: bytes) -> int:
    """Count the bytes that agree from the start, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
