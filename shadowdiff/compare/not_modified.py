"""Decide whether v1 responded with 304 to a validator that only v1 knows.

Users have v1's ETags, so v2 cannot answer 304 to them. A v2 that sends its full response is comparable only if it
should have answered 304: the request has v2's own validator, or v2's response has no validator.
Source: RFC 9110, sections 8.8.3 and 13.1.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.headers import all_of, value_of
from shadowdiff.model import REVALIDATION

if TYPE_CHECKING:
    from shadowdiff.model import Pair

_DATE_BYTES: Final = 64
_FULL: Final = frozenset({200, 206})
_TAG: Final = re.compile(rb'(?:W/)?"([^"]*+)"|([^\s,"]++)')
"""An entity tag; some servers omit the quotation marks."""


def has_other_validator(pair: Pair) -> bool:
    """Return whether v1 responded with 304, and v2 with a full response whose validator the user does not have."""
    primary, candidate = pair.primary, pair.candidate
    if candidate.status not in _FULL or REVALIDATION in candidate.request_headers:
        return False
    request, own = candidate.request_headers, _tags(value_of(candidate.headers, b"etag"))
    known = _tags(b",".join([*all_of(request, b"if-none-match"), value_of(primary.headers, b"etag")]))
    if own or known:
        return bool(own) and own.isdisjoint(known) and b"*" not in known
    since = _date(value_of(request, b"if-modified-since"))
    modified = _date(value_of(candidate.headers, b"last-modified"))
    return modified is not None and (since is None or modified > since)


def _tags(value: bytes) -> frozenset[bytes]:
    return frozenset(quoted or bare for quoted, bare in _TAG.findall(value))


def _date(value: bytes) -> datetime | None:
    """Return a date, always with a time zone, so that two dates can be compared; None if it is not a date."""
    try:
        date = parsedate_to_datetime(value[:_DATE_BYTES].decode("latin-1"))
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
