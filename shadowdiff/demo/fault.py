"""The faults planted in v2, and how a difference tells which of them it shows.

In: a request's id and its product.  Out: the faults that spoil its answer.
Holds: the same id is spoiled in the same way in every run, so a journal can be checked against what was found.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import NamedTuple

ONE_IN = 50
ERROR_PRODUCT = 13
STRING_EVERY = 25
STRING_AT = 3
CATEGORY = "garden"


class Fault(StrEnum):
    """What v2 gets wrong."""

    WRONG_PRICE = "wrong price"
    MISSING_FIELD = "missing field"
    INTEGER_AS_STRING = "integer as string"
    SERVER_ERROR = "server error"


class Seen(NamedTuple):
    """One difference that shadowdiff lists: where, and of which kind."""

    path: str
    kind: str


PLACES: dict[Fault, Seen] = {
    Fault.WRONG_PRICE: Seen("$['price']['amount']", "value"),
    Fault.MISSING_FIELD: Seen("$['shipping']", "removed"),
    Fault.INTEGER_AS_STRING: Seen("$['stock']['count']", "type"),
    Fault.SERVER_ERROR: Seen("status", "status"),
}
"""Where each fault must show, and as what."""


def faults_of(request_id: str, product: int, category: str) -> tuple[Fault, ...]:
    """Return the faults that spoil the answer for a product; a server error leaves no room for others."""
    if product == ERROR_PRODUCT:
        return (Fault.SERVER_ERROR,)
    found: list[Fault] = []
    if zlib.crc32(request_id.encode()) % ONE_IN == 0:
        found.append(Fault.WRONG_PRICE)
    if category == CATEGORY:
        found.append(Fault.MISSING_FIELD)
    if product % STRING_EVERY == STRING_AT:
        found.append(Fault.INTEGER_AS_STRING)
    return tuple(found)


def explains(fault: Fault, seen: Seen) -> bool:
    """Whether a difference is one that the fault makes; an answer of 500 differs everywhere."""
    return fault is Fault.SERVER_ERROR or seen == PLACES[fault]
