"""Read the id of a request, compute its pair key, and decide whether it belongs to the sample.

The mesh creates a unique `x-diff-id` for every hop, so this id alone is the key. All calls of a trace, and retries, can
share any other id, so the key then also contains the method and path.

Sampling uses FNV-1a-32 of the lower-case id, as the Lua filter and the copyable recorder do. Sampling never uses the
id's own bits: UUIDv7 and X-Ray ids start with the time, so their bits would select whole seconds.
Source: RFC draft-eastlake-fnv.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

UNIQUE_SOURCES = frozenset({"x-diff-id"})
"""Headers whose id is unique per request. In other headers, several requests may have the same id."""
TRACEPARENT = "traceparent"
MAX_ID_BYTES = 256
SPAN = 1 << 32

Identify = Callable[[Iterable[tuple[bytes, bytes]]], tuple[str, str] | None]


def trace_id(traceparent: str) -> str:
    """Return the trace id of a W3C traceparent, or '' if it is invalid. Source: Trace Context, section 3.2."""
    parts = traceparent.split("-", 3)
    whole = len(parts) >= 3 and len(parts[1]) == 32 and parts[1].strip("0") != ""  # noqa: PLR2004
    return parts[1].lower() if whole else ""


def identifier(id_headers: Sequence[str]) -> Identify:
    """Return a function from request headers to (id, header name), or None if no header has an id.

    id_headers: the header names in lower case, in order of preference.
    """
    ranks = {name.encode(): (rank, name) for rank, name in enumerate(id_headers)}

    def identify(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str] | None:
        best = len(ranks)
        found: tuple[str, str] | None = None
        for name, value in headers:
            ranked = ranks.get(name)
            if ranked is None or ranked[0] >= best:
                continue
            text = value.decode("utf-8", "backslashreplace").strip()  # sampling uses the same bytes of the id
            if ranked[1] == TRACEPARENT:
                text = trace_id(text)
            if text and len(text) <= MAX_ID_BYTES:
                best, found = ranked[0], (text, ranked[1])
                if best == 0:
                    break
        return found

    return identify


def key_of(target: str, request_id: str, id_source: str, method: str, path: str) -> bytes:
    """Return the 16-byte key that all observations of one request share."""
    parts = f"{target}\0{request_id}" if id_source in UNIQUE_SOURCES else f"{target}\0{request_id}\0{method}\0{path}"
    return blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def fnv1a32(text: str) -> int:
    """Return FNV-1a-32 of a header's bytes with ASCII letters in lower case.

    text: the value from an HTTP library, one character per byte (latin-1); if a character is not a byte, UTF-8 is used.
    """
    value = 0x811C9DC5  # the offset basis
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    for byte in raw.lower():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def is_sampled(request_id: str, rate: float) -> bool:
    """Return whether a request with this id is in the sample of this `rate` (0 to 1)."""
    return rate >= 1.0 or fnv1a32(request_id) < rate * SPAN
