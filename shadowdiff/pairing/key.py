"""What pairs the observations of one request: its id, and the key made of it.

An id that the mesh makes anew for every hop (`x-diff-id`) is unique: the key is the id. Every other id
is shared by the calls of one trace and by retries: the key also holds method and path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

UNIQUE_SOURCES = frozenset({"x-diff-id"})
TRACEPARENT = "traceparent"
MAX_ID_BYTES = 256

Identify = Callable[[Iterable[tuple[bytes, bytes]]], tuple[str, str] | None]


def trace_id(traceparent: str) -> str:
    """Return the trace id of a W3C traceparent, or '' where it has none. Source: Trace Context, section 3.2."""
    parts = traceparent.split("-", 3)
    whole = len(parts) >= 3 and len(parts[1]) == 32 and parts[1].strip("0") != ""  # noqa: PLR2004
    return parts[1].lower() if whole else ""


def identifier(id_headers: Sequence[str]) -> Identify:
    """Return a function from request headers to (id, the header that gave it), or None where there is none.

    id_headers: lower case, in order of preference.
    """
    rank = {name.encode(): (place, name) for place, name in enumerate(id_headers)}

    def identify(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str] | None:
        best = len(rank)
        found: tuple[str, str] | None = None
        for name, value in headers:
            known = rank.get(name)
            if known is None or known[0] >= best:
                continue
            text = value.decode("utf-8", "backslashreplace").strip()  # as the sample draws: by these very bytes
            if known[1] == TRACEPARENT:
                text = trace_id(text)
            if text and len(text) <= MAX_ID_BYTES:
                best, found = known[0], (text, known[1])
                if best == 0:
                    break
        return found

    return identify


def is_shared(id_source: str) -> bool:
    """Return whether several requests may bear the same id from this header."""
    return id_source not in UNIQUE_SOURCES


def key_of(target: str, request_id: str, id_source: str, method: str, path: str) -> bytes:
    """Return the 16-byte key that joins one request's observations."""
    parts = f"{target}\0{request_id}" if id_source in UNIQUE_SOURCES else f"{target}\0{request_id}\0{method}\0{path}"
    return blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=16).digest()
