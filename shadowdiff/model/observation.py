"""One side's response to one request, and what identifies the request.

Holds: values are frozen; headers and bodies stay bytes, as they were on the wire.
Reads nothing: no clock, no network, no other module of the project.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]
"""Header fields in the order received; names in lower case; duplicates kept."""


class Side(StrEnum):
    """Who answered: v1 to its real user, v2 to the mirrored copy, or a second v1."""

    PRIMARY = "primary"
    CANDIDATE = "candidate"
    CONTROL = "control"


class Failure(StrEnum):
    """Why a side gave no whole response. Counts against that side, never as silence."""

    REFUSED = "refused"
    UNRESOLVED = "unresolved"
    TIMEOUT = "timeout"
    RESET = "reset"
    MALFORMED = "malformed"
    SATURATED = "saturated"
    BREAKER_OPEN = "breaker_open"


class Observation(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """One side's response to one request.

    path: the request target as on the wire, query included.
    status: 100 to 599, or 0 where no response came (then `failure` says why).
    body: as on the wire (still content-encoded), bounded by the receiver.
    body_bytes: the full size as sent; larger than `len(body)` means truncated.
    attempt: from 1; a proxy's retries count up, 0 where nobody said.
    duration_ms: as measured by whoever recorded it; negative where unknown.
    at_ms: the service's wall clock when it took the observation in, Unix milliseconds.
    request_headers, request_body: what was asked; only the candidate's observation carries them whole. Of a
        recorded request there are the headers that name its trace, where its recorder sends them.
    """

    side: Side
    target: str
    id: str
    id_source: str
    method: str
    path: str
    host: str
    status: int
    failure: Failure | None = None
    headers: Headers = ()
    body: bytes = b""
    body_bytes: int = 0
    trailers: Headers = ()
    attempt: int = 0
    duration_ms: float = -1.0
    at_ms: int = 0
    request_headers: Headers = ()
    request_body: bytes = b""

    @property
    def truncated(self) -> bool:
        """Whether the body held here is only the start of what was sent."""
        return self.body_bytes > len(self.body)


class Pair(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The observations of one request under one key (16 bytes), and its route."""

    key: bytes
    target: str
    route: str
    primary: Observation
    candidate: Observation
    control: Observation | None = None
