"""What a comparison says: differences, and the result of one pair."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """How two places differ."""

    STATUS = "status"
    HEADER = "header"
    TYPE = "type"
    VALUE = "value"
    ADDED = "added"
    REMOVED = "removed"
    ORDER = "order"
    TEXT = "text"
    BYTES = "bytes"


class Severity(StrEnum):
    """What a difference means to a client of v1."""

    BREAKING = "breaking"
    VALUE = "value"
    ADDITIVE = "additive"


class Result(StrEnum):
    """The outcome for one pair. A failure is never a match."""

    MATCH = "match"
    IGNORED = "ignored"
    MISMATCH = "mismatch"
    INCOMPARABLE = "incomparable"


class Difference(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One place where the candidate differs from the primary.

    path: RFC 9535 normalized path (`$['items'][3]['price']`), or `status`, `header.<name>`, `text[line]`,
        `bytes[offset]`; bare `text` and `bytes` where the whole body is meant.
    pattern: the same with every index collapsed to `[*]`: what groups equal faults.
    primary, candidate: JSON text exactly as the side wrote the value (other bodies: plain text), bounded;
        None where the side has nothing there.
    rule: the label of the rule that covers this difference; None where it counts.
    """

    path: str
    pattern: str
    kind: Kind
    primary: str | None
    candidate: str | None
    severity: Severity
    rule: str | None = None


class Comparison(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The result of one pair, and every difference found up to a bound.

    reason: why the pair is incomparable; empty otherwise.
    unlisted: differences found beyond the bound, so `differences` is never taken for the whole.
    """

    result: Result
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    unlisted: int = 0
