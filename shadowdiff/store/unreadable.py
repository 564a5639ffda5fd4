"""What lies in the store and is not what this service writes: another version's, damaged, or forged.

In: the name of what is taken apart, and the block that does so.  Out: an UnreadableError where that cannot be done.
Holds: it is a RedisError, so that whoever waits for a store that is away waits for what is in it too, and is answered
503 meanwhile; it is said where it is found, in one line. Numbers have bounds, so that none of them is no date.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Generator

log = logging.getLogger(__name__)

FIRST_MS: Final = -62_135_596_800_000
LAST_MS: Final = 253_402_300_799_999
"""Of the years that dates have, 1 to 9999, in Unix milliseconds; no count comes near."""
_SHOWN: Final = 200
_WRONG: Final = (
    msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError
)  # fmt: skip
"""What taking apart raises where the whole is not made of the expected parts."""


class UnreadableError(RedisError):
    """A value in the store that is not what this service writes."""


@contextmanager
def reading(what: str) -> Generator[None]:
    """Take apart what the store answered. Raises: UnreadableError, naming it, where it is something else."""
    try:
        yield
    except _WRONG as error:
        told = f"{type(error).__name__}: {error}"[:_SHOWN]
        log.warning("the store holds what cannot be read: %s", what, extra={"error": told})
        raise UnreadableError(f"{what}: {told}") from error


def size(value: bytes | str | float) -> int:
    """Return how many there are of something. Raises: ValueError, OverflowError."""
    found = number(value)
    if found < 0:
        raise ValueError(f"{found} is fewer than none")
    return found


def number(value: bytes | str | float) -> int:
    """Return a whole number that a date can have. Raises: ValueError, OverflowError."""
    found = int(value)
    if not FIRST_MS <= found <= LAST_MS:
        raise ValueError(f"{found:.3g} is out of all bounds")
    return found
