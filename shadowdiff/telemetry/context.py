"""The trace that a request belongs to, as its headers say: W3C Trace Context, else B3 in its single or multi form.

In: raw header fields, names in lower case.  Out: a `TraceContext`, or None where no header holds a sound one.
Holds: pure; one pass over the headers; what is malformed is no context, and never an error.
Sources: W3C Trace Context, section 3.2; B3 Propagation (openzipkin/b3-propagation).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACE_HEADERS: Final = frozenset(
    {b"traceparent", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-sampled", b"x-b3-flags"}
)
"""The request headers that a trace context is read from."""

_W3C: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_B3_TRACE: Final = re.compile(rb"[0-9a-fA-F]{32}|[0-9a-fA-F]{16}")
_B3_SPAN: Final = re.compile(rb"[0-9a-fA-F]{16}")
_B3_SAMPLED: Final = {b"1": True, b"d": True, b"true": True, b"0": False, b"false": False}
_SAMPLED_BIT: Final = 1
_TRACE_CHARS: Final = 32


class TraceContext(NamedTuple):
    """One span of one trace, in lower-case hexadecimal; `sampled` is None where B3 leaves that open."""

    trace_id: str
    span_id: str
    sampled: bool | None


def trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the trace context of a request; of several forms the W3C's counts before B3, and single before multi."""
    found: dict[bytes, bytes] | None = None
    for name, value in headers:
        if name in TRACE_HEADERS:
            if name == b"traceparent" and (context := _w3c(value.strip())):
                return context
            if found is None:
                found = {}
            found.setdefault(name, value.strip())
    if found is None:
        return None
    return _b3_single(found.get(b"b3")) or _b3_multi(found)


def trace_of(*asked: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the first context among the request headers of several sides."""
    for headers in asked:
        if context := trace_context(headers):
            return context
    return None


def log_fields(*asked: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return what a log line about one request adds, so that it is found from the trace, and the trace from it."""
    context = trace_of(*asked)
    return {} if context is None else {"trace_id": context.trace_id, "span_id": context.span_id}


def _w3c(value: bytes) -> TraceContext | None:
    parts = _W3C.fullmatch(value)
    if parts is None:
        return None
    version, trace, span, flags, more = parts.groups()
    if version == b"ff" or (version == b"00" and more):
        return None
    return _context(trace, span, sampled=bool(int(flags, 16) & _SAMPLED_BIT))


def _b3_single(value: bytes | None) -> TraceContext | None:
    """Read `TRACE-SPAN[-SAMPLED[-PARENT]]`; a lone `0` says not to sample, and of no trace."""
    parts = value.split(b"-") if value else []
    if len(parts) < 2:  # noqa: PLR2004
        return None
    return _b3(parts[0], parts[1], _B3_SAMPLED.get(parts[2].lower()) if len(parts) > 2 else None)  # noqa: PLR2004


def _b3_multi(found: dict[bytes, bytes]) -> TraceContext | None:
    sampled = _B3_SAMPLED.get(found.get(b"x-b3-sampled", b"").lower())
    if found.get(b"x-b3-flags") == b"1":  # debug implies that it is sampled
        sampled = True
    return _b3(found.get(b"x-b3-traceid", b""), found.get(b"x-b3-spanid", b""), sampled)


def _b3(trace: bytes, span: bytes, sampled: bool | None) -> TraceContext | None:  # noqa: FBT001
    if not (_B3_TRACE.fullmatch(trace) and _B3_SPAN.fullmatch(span)):
        return None
    return _context(trace.lower().rjust(_TRACE_CHARS, b"0"), span.lower(), sampled=sampled)


def _context(trace: bytes, span: bytes, *, sampled: bool | None) -> TraceContext | None:
    """Return the context, unless an id is all zeros, which both forms call invalid."""
    if not trace.strip(b"0") or not span.strip(b"0"):
        return None
    return TraceContext(trace.decode(), span.decode(), sampled)
