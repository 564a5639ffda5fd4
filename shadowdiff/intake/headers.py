"""The headers of a request: which marks it bears, and which of them v2 is to see.

In: raw header fields as they were received, names in lower case.  Out: the marks that the intake decides by,
and the fields to send on.
Holds: pure.  Hop-by-hop fields (RFC 9110, section 7.6.1; also those that Connection names), the proxy's own
fields and the framing of the body never go on; order and duplicates of the rest are kept.
"""

from __future__ import annotations

from typing import NamedTuple

RawHeaders = list[tuple[bytes, bytes]]

MARK = b"x-shadowdiff"
BAGGAGE = b"baggage"
BAGGAGE_KEY = b"shadowdiff"
BAGGAGE_MEMBER = b"shadowdiff=1"

_WITHHELD = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"transfer-encoding",
    b"upgrade", b"http2-settings", b"expect", b"content-length", b"host",
    b"x-diff-id", b"x-envoy-expected-rq-timeout-ms", b"x-envoy-attempt-count", b"x-shadowdiff", b"baggage",
})  # fmt: skip
_DECIDING = frozenset({b"host", MARK, BAGGAGE, b"upgrade"})
_USUAL_CONNECTION = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close", b""})


class Marks(NamedTuple):
    """What the intake decides by, found in one pass."""

    host: bytes
    is_shadow: bool
    upgrade: bytes


def read_marks(headers: RawHeaders) -> Marks:
    """Find the Host, the marks of shadow traffic (ours, or passed on to us in baggage), and an upgrade."""
    host = upgrade = b""
    is_shadow = False
    for name, value in headers:
        if name in _DECIDING:
            if name == b"host":
                host = value
            elif name == b"upgrade":
                upgrade = value.lower()
            elif name == MARK or has_member(value):
                is_shadow = True
    return Marks(host, is_shadow, upgrade)


def has_member(baggage: bytes) -> bool:
    """Whether a baggage header (W3C Baggage, section 3.2) holds the member that shadow traffic bears."""
    if BAGGAGE_KEY not in baggage:
        return False
    return any(member.partition(b"=")[0].strip() == BAGGAGE_KEY for member in baggage.split(b","))


def is_grpc(headers: RawHeaders) -> bool:
    """Whether a request is a gRPC call, which is asked over HTTP/2."""
    return any(name == b"content-type" and value.startswith(b"application/grpc") for name, value in headers)


def forwarded(headers: RawHeaders) -> RawHeaders:
    """Return the fields to send on, with the mark and the baggage member added; Host is the caller's."""
    sent: RawHeaders = []
    baggage = listed = b""
    for field in headers:
        name, value = field
        if name not in _WITHHELD:
            sent.append(field)
        elif name == b"connection":
            if value not in _USUAL_CONNECTION:
                listed = listed + b"," + value if listed else value
        elif name == BAGGAGE:
            baggage = baggage + b"," + value if baggage else value
    if listed:
        hop_by_hop = {token.strip().lower() for token in listed.split(b",")}
        sent = [field for field in sent if field[0] not in hop_by_hop]
    sent.append((MARK, b"1"))
    sent.append((BAGGAGE, b"%b,%b" % (baggage, BAGGAGE_MEMBER) if baggage else BAGGAGE_MEMBER))
    return sent
