"""Functions that build two responses and compare them in one call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Observation, Pair, Side
from shadowdiff.rules import compile_rules, parse_rules

if TYPE_CHECKING:
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.model import Comparison, Headers

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROUTE = "GET /x"
JSON: Headers = ((b"content-type", b"application/json"),)
LIMITS = Limits()


def response(side: Side, body: bytes = b"", headers: Headers = JSON, **changes: Any) -> Observation:
    """Return a response to GET /x with status 200 and the given `changes`."""
    whole = Observation(
        side=side, target="t", id="i", id_source="x-request-id", method="GET", path="/x", host="h", status=200,
        headers=headers, body=body, body_bytes=len(body),
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes) if changes else whole


def pair_of(primary: Observation, candidate: Observation, route: str = ROUTE) -> Pair:
    """Return a pair made of two responses."""
    return Pair(key=b"", target="t", route=route, primary=primary, candidate=candidate)


def compared(
    primary: Observation,
    candidate: Observation,
    *rules: object,
    limits: Limits = LIMITS,
    route: str = ROUTE,
    messages: Descriptors | None = None,
    now: datetime = NOW,
) -> Comparison:
    """Compare two responses under rules."""
    compiled = compile_rules(parse_rules(rules), now)
    return compare(pair_of(primary, candidate, route), compiled, limits, messages)


def judged(
    one: bytes,
    other: bytes,
    *rules: object,
    headers: Headers = JSON,
    headers_other: Headers | None = None,
    limits: Limits = LIMITS,
    **changes: Any,
) -> Comparison:
    """Compare two bodies under rules. Unless the test passes headers for v2, v2 has the same headers as v1."""
    primary = response(Side.PRIMARY, one, headers, **changes)
    candidate = response(Side.CANDIDATE, other, headers if headers_other is None else headers_other, **changes)
    return compared(primary, candidate, *rules, limits=limits)
