"""What is settled before bodies are compared: failures and truncation.

Holds: what v1 failed to give is no measure (`incomparable`); what is lost because of v2 counts against v2, whatever
rules say; a prefix that agrees is not a match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare.binary import size
from shadowdiff.compare.headers import GRPC_STATUS, fields_of, value_of
from shadowdiff.model import Comparison, Difference, Kind, Result, Severity

if TYPE_CHECKING:
    from shadowdiff.model import Observation, Pair

TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500


def settled(pair: Pair) -> Comparison | None:
    """Return the comparison where a failure decides it; None where the answers are to be compared."""
    primary, candidate = pair.primary, pair.candidate
    if primary.failure is None and candidate.failure is None and primary.status < TOO_MANY_REQUESTS > candidate.status:
        may_be_grpc = primary.trailers or candidate.trailers or not (primary.body and candidate.body)
        return _settled_by_grpc(primary, candidate) if may_be_grpc else None
    if primary.failure is not None:
        return incomparable("primary_failed")
    if primary.status >= SERVER_ERROR:
        return incomparable("primary_5xx")
    if primary.status == TOO_MANY_REQUESTS:
        return incomparable("primary_429")
    if candidate.failure is None and candidate.status < SERVER_ERROR:
        return None
    return mismatch(status_difference(primary, candidate))


GRPC_FAILED: Final = frozenset({b"2", b"4", b"8", b"13", b"14", b"15"})
"""What stands for 5xx and 429: unknown, deadline exceeded, resource exhausted, internal, unavailable, data loss."""


def _settled_by_grpc(primary: Observation, candidate: Observation) -> Comparison | None:
    """Decide by the status of a gRPC call as by HTTP's."""
    one, other = (value_of(fields_of(side), GRPC_STATUS) for side in (primary, candidate))
    if one in GRPC_FAILED:
        return incomparable("primary_grpc_failed")
    if not one or other not in GRPC_FAILED:
        return None
    difference = status_difference(primary, candidate)
    path = f"header.{GRPC_STATUS.decode()}"
    said = {"path": path, "pattern": path, "primary": one.decode("latin-1"), "candidate": other.decode("latin-1")}
    return mismatch(msgspec.structs.replace(difference, **said))


def incomparable(reason: str) -> Comparison:
    """Return a result that says why there is none."""
    return Comparison(result=Result.INCOMPARABLE, reason=reason)


def mismatch(difference: Difference) -> Comparison:
    """Return a mismatch that one difference decides."""
    return Comparison(result=Result.MISMATCH, differences=(difference,))


def status_difference(primary: Observation, candidate: Observation, rule: str | None = None) -> Difference:
    """Say how the statuses differ; a failure stands in a status's place."""
    return Difference(
        path="status",
        pattern="status",
        kind=Kind.STATUS,
        primary=str(primary.status),
        candidate=str(candidate.failure or candidate.status),
        severity=Severity.BREAKING,
        rule=rule,
    )


def overlong(pair: Pair) -> Difference | None:
    """Return the difference where v2's body alone went past the bound, though both are coded alike."""
    primary, candidate = pair.primary, pair.candidate
    if primary.truncated or not candidate.truncated:
        return None
    coding = b"content-encoding"
    if value_of(primary.headers, coding) != value_of(candidate.headers, coding):
        return None
    return Difference(
        path="bytes",
        pattern="bytes",
        kind=Kind.BYTES,
        primary=size(primary.body_bytes),
        candidate=f"{size(candidate.body_bytes)}, of which {len(candidate.body)} were kept",
        severity=Severity.VALUE,
    )
