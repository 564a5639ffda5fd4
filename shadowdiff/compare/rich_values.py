"""Write values that JSON cannot express as JSON values, and read bytes in order.

MessagePack, CBOR and YAML have byte strings, tags, and keys of any type. Such a value becomes an object whose first
member name begins with `#`. A text key that begins with `#` gets another `#`, so that different values stay different.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.content_type import BrokenBodyError
from shadowdiff.compare.exact import MAX_DEPTH, members_of
from shadowdiff.compare.finding import write
from shadowdiff.rules.json_values import Constant, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK: Final = "#"
MAX_KEY_CHARS: Final = 1024
"""The maximum length of a key that is not text, written as JSON.

Keys may contain keys, and each level would quote the level below.
"""


def bytes_value(content: bytes) -> Value:
    """Return the value of a byte string."""
    return {"#bytes": base64.b64encode(content).decode()}


def float_value(number: float) -> Value:
    """Return the value of a double."""
    if math.isfinite(number):
        return number
    return Constant("NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity")


def object_of(pairs: Iterable[tuple[Value, Value]]) -> dict[str, Value]:
    """Return an object whose keys may have any type. Raises: BrokenBodyError if a key is too long."""
    return members_of([(_name(key), value) for key, value in pairs])


def _name(key: Value) -> str:
    if type(key) is str:
        return MARK + key if key[:1] == MARK else key
    if type(key) is int:
        return f"{MARK}{key}"
    if key is None:
        return f"{MARK}null"
    if isinstance(key, dict) and len(key) == 1:
        ((mark, content),) = key.items()
        if mark[:1] == MARK != mark[1:2] and type(content) is str:
            return f"{mark} {content}"
    name = MARK + write(key, MAX_KEY_CHARS)
    if len(name) > MAX_KEY_CHARS:
        raise BrokenBodyError(f"a key that is not text, written as JSON, has more than {MAX_KEY_CHARS} characters")
    return name


class Reader:
    """Reads one binary body from its start."""

    __slots__ = ("_body", "at", "depth")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = self.depth = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes. Raises: BrokenBodyError."""
        end = self.at + count
        found = self._body[self.at : end]
        if len(found) < count:
            raise self._ended()
        self.at = end
        return found

    def byte(self) -> int:
        """Return the next byte. Raises: BrokenBodyError."""
        at = self.at
        if at == len(self._body):
            raise self._ended()
        self.at = at + 1
        return self._body[at]

    def integer(self, count: int, *, signed: bool = False) -> int:
        """Return the big-endian integer in the next bytes."""
        return int.from_bytes(self.take(count), "big", signed=signed)

    def text(self, count: int) -> str:
        """Return the text in the next bytes. Raises: BrokenBodyError."""
        return self.decode(self.take(count))

    def decode(self, content: bytes) -> str:
        """Return the text of bytes that were just read. Raises: BrokenBodyError."""
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise BrokenBodyError(f"the text before byte {self.at} is not UTF-8") from error

    def peek(self) -> int:
        """Return the next byte, or -1 at the end."""
        return self._body[self.at] if self.at < len(self._body) else -1

    def _ended(self) -> BrokenBodyError:
        return BrokenBodyError(f"ends in the middle of a value, after {len(self._body)} bytes")

    def enter(self) -> None:
        """Go one level deeper. Raises: BrokenBodyError."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise BrokenBodyError(f"nested deeper than {MAX_DEPTH} levels")

    def finish(self, value: Value) -> Value:
        """Return the value of the whole body. Raises: BrokenBodyError if more bytes follow."""
        if self.peek() >= 0:
            raise BrokenBodyError(f"more bytes follow the value, which ends at byte {self.at}")
        return value
