"""The errors of the store: the store is unavailable, or contains data that this service cannot read.

Unreadable data (damaged, forged, or written by another version) raises UnreadableError, which is also in STORE_ERRORS:
code that waits for an unavailable store waits for repaired data in the same way.
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
"""The years 1 to 9999 in Unix milliseconds: every number in the store lies between."""
_SHOWN: Final = 200
_WRONG: Final = (
    msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError
)  # fmt: skip
"""The exceptions of parsing if the data does not have the expected parts."""
STORE_ERRORS: Final = (RedisError, OSError)
"""The exceptions of a failed call to the store. A TimeoutError is an OSError."""


class UnreadableError(RedisError):
    """The store contains a value that this service never writes."""


def describe_error(error: BaseException) -> str:
    """Return the class and the message of an error; redis-py's own `repr` omits the message."""
    return f"{type(error).__name__}: {error}"


@contextmanager
def reading(what: str) -> Generator[None]:
    """Parse a reply of the store in a `with` block. Raises: UnreadableError that names `what` if parsing fails."""
    try:
        yield
    except _WRONG as error:
        text = describe_error(error)[:_SHOWN]
        log.warning("unreadable data in the store: %s", what, extra={"error": text})
        raise UnreadableError(f"{what}: {text}") from error


def size(value: bytes | str | float) -> int:
    """Return a count. Raises: ValueError, OverflowError."""
    found = number(value)
    if found < 0:
        raise ValueError(f"{found} is negative")
    return found


def number(value: bytes | str | float) -> int:
    """Return an integer within the bounds. Raises: ValueError, OverflowError."""
    found = int(value)
    if not FIRST_MS <= found <= LAST_MS:
        raise ValueError(f"{found:.3g} is out of bounds")
    return found
