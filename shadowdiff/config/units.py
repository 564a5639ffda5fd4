"""Durations and sizes as people write them: `30s`, `500ms`, `1MiB`.

In: a YAML scalar.  Out: seconds or bytes; and back to the shortest text that means the same.
Holds: a duration without a unit is refused, since 30 might be seconds or milliseconds; a bare size is bytes.
"""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"": 1, "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_BINARY: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

DURATION_PATTERN: Final = r"^(0|(\d+(\.\d+)?(ms|s|m|h|d))+)$"
SIZE_PATTERN: Final = r"^\d+(\.\d+)?\s?(B|kB|KB|MB|GB|KiB|MiB|GiB)?$"
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s?([A-Za-z]*)")


def parse_duration(value: object) -> float:
    """Return the seconds of `30s`, `500ms`, `1h30m` or `0`.

    Raises: ValueError, saying what would be right.
    """
    if value == 0 and not isinstance(value, bool):
        return 0.0
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(DURATION_PATTERN, text, re.ASCII):
        raise ValueError("write a duration with its unit, such as 500ms, 30s, 5m or 1h30m")
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text))


def parse_size(value: object) -> int:
    """Return the bytes of `64KiB`, `1MiB`, `1.5MB` or a bare whole number.

    Raises: ValueError, saying what would be right.
    """
    found = (
        _SIZE.fullmatch(str(value).strip()) if isinstance(value, str | int) and not isinstance(value, bool) else None
    )
    scale = (_BYTES | _BINARY).get(found[2]) if found else None
    if found is None or scale is None:
        raise ValueError("write a size such as 64KiB, 1MiB or 256MiB, or a number of bytes")
    return int(float(found[1]) * scale)


def duration_text(seconds: float) -> str:
    """Return the shortest duration of one unit that means `seconds` exactly, else milliseconds."""
    for unit in ("d", "h", "m", "s"):
        amount = seconds / _SECONDS[unit]
        if amount >= 1 and amount == int(amount):
            return f"{int(amount)}{unit}"
    return f"{seconds * 1000:.15g}ms" if seconds else "0s"


def size_text(size_bytes: int) -> str:
    """Return the largest binary unit that divides `size_bytes`, else bytes."""
    for unit, scale in reversed(_BINARY.items()):
        if size_bytes and size_bytes % scale == 0:
            return f"{size_bytes // scale}{unit}"
    return f"{size_bytes}B"
