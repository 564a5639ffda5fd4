"""The sample draw: by id, the same in the service, the Lua filter and the copyable recorder.

FNV-1a-32 of the lower-case id below the rate. Never the id's own bits: UUIDv7 and X-Ray ids start with
the time, so their bits would keep whole seconds and drop others. Source: RFC draft-eastlake-fnv.
"""

from __future__ import annotations

OFFSET_BASIS = 0x811C9DC5
PRIME = 0x01000193
SPAN = 1 << 32


def fnv1a32(text: str) -> int:
    """Return FNV-1a-32 of a header's bytes with ASCII letters in lower case.

    text: the header as HTTP libraries give it, a character a byte (latin-1); where a character is none, its UTF-8.
    """
    value = OFFSET_BASIS
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    for byte in raw.lower():
        value = ((value ^ byte) * PRIME) & 0xFFFFFFFF
    return value


def keeps(request_id: str, rate: float) -> bool:
    """Return whether a request with this id belongs to a sample of `rate` (0 to 1)."""
    return rate >= 1.0 or fnv1a32(request_id) < rate * SPAN
