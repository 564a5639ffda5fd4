"""Read a request's trace context from its headers: W3C Trace Context, else B3 in single or multi form.

Pure, with one pass over the headers; a malformed header gives no context, but never an error.
Sources: W3C Trace Context, section 3.2; B3 Propagation (openzipkin/b3-propagation).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACE_HEADERS: Final = {b"traceparent", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-sampled", b"x-b3-flags"}
"""The request headers that can contain a trace context."""

_W3C: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_B3_TRACE: Final = re.compile(rb"[0-9a-fA-F]{32}|[0-9a-fA-F]{16}")
_B3_SPAN: Final = re.compile(rb"[0-9a-fA-F]{16}")
_B3_SAMPLED: Final = {b"1": True, b"d": True, b"true": True, b"0": False, b"false": False}


class TraceContext(NamedTuple):
    """A span and its trace, in lower-case hexadecimal; `sampled` is None if B3 does not decide."""

    trace_id: str
    span_id: str
    sampled: bool | None


def trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the trace context of a request's headers (names in lower case): W3C, else single B3, else multi B3."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in TRACE_HEADERS:
            if name == b"traceparent" and (context := _w3c(value.strip())):
                return context
            found.setdefault(name, value.strip())
    return (_b3_single(found.get(b"b3", b"")) or _b3_multi(found)) if found else None


def trace_of(*sides: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the first trace context in the request headers of several sides."""
    return next(filter(None, map(trace_context, sides)), None)


def log_fields(*sides: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the fields that link a request's log line with its trace."""
    context = trace_of(*sides)
    return {} if context is None else {"trace_id": context.trace_id, "span_id": context.span_id}


def _w3c(value: bytes) -> TraceContext | None:
    parts = _W3C.fullmatch(value)
    if parts is None:
        return None
    version, trace, span, flags, more = parts.groups()
    if version == b"ff" or (version == b"00" and more):
        return None
    return _context(trace, span, sampled=int(flags, 16) & 1 == 1)


def _b3_single(value: bytes) -> TraceContext | None:
    """Read `TRACE-SPAN[-SAMPLED[-PARENT]]`; a single `0` means "do not sample" and has no trace."""
    trace, span, sampled, *_ = (*value.split(b"-"), b"", b"")
    return _b3(trace, span, _B3_SAMPLED.get(sampled.lower()))


def _b3_multi(found: dict[bytes, bytes]) -> TraceContext | None:
    is_debug = found.get(b"x-b3-flags") == b"1"  # debug implies sampled
    sampled = True if is_debug else _B3_SAMPLED.get(found.get(b"x-b3-sampled", b"").lower())
    return _b3(found.get(b"x-b3-traceid", b""), found.get(b"x-b3-spanid", b""), sampled)


def _b3(trace: bytes, span: bytes, sampled: bool | None) -> TraceContext | None:  # noqa: FBT001
    if not (_B3_TRACE.fullmatch(trace) and _B3_SPAN.fullmatch(span)):
        return None
    return _context(trace.lower().rjust(32, b"0"), span.lower(), sampled=sampled)


def _context(trace: bytes, span: bytes, *, sampled: bool | None) -> TraceContext | None:
    """Return the context, or None if an id is all zeros, which both formats forbid."""
    if not trace.strip(b"0") or not span.strip(b"0"):
        return None
    return TraceContext(trace.decode(), span.decode(), sampled)
