"""MessagePack, compared by value.

This reader keeps what msgspec drops: duplicate keys, keys that Python treats as equal (`1` and `true`), and the
nanoseconds of timestamps. Its depth is limited, and it reserves no memory for elements that do not follow.
Source: the MessagePack specification, with the timestamp extension type.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.formats.format import BrokenBodyError, Format
from shadowdiff.compare.rich_values import Reader, bytes_value, float_value, object_of
from shadowdiff.rules.json_values import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

_TIMESTAMP: Final = -1
_NANOS: Final = 10**9
_SECONDS_BITS: Final = 34


class MessagePack(Format):
    """Reads one value."""

    name = "MessagePack"
    docs = (
        "the value as JSON. A byte string is `{'#bytes': BASE64}`, an extension is `{'#ext': TYPE, 'value': …}`, and a"
        " timestamp is `{'#timestamp': SECONDS}`. A key that is not text becomes `#` and its JSON: `$['#404']`"
    )
    media_types = ("application/vnd.msgpack", "application/msgpack", "application/x-msgpack", "+msgpack")
    is_binary = True
    has_lengths = True

    def value(self, body: bytes, media: Media) -> Value:
        reader = Reader(body)
        return reader.finish(_value(reader))


def _value(reader: Reader) -> Value:
    head = reader.byte()
    return _READERS[head](reader, head)


def _array(reader: Reader, count: int) -> Value:
    reader.enter()
    found = [_value(reader) for _ in range(count)]
    reader.depth -= 1
    return found


def _map(reader: Reader, count: int) -> Value:
    reader.enter()
    found = object_of([(_value(reader), _value(reader)) for _ in range(count)])
    reader.depth -= 1
    return found


def _float(reader: Reader, form: str, size: int) -> Value:
    return float_value(struct.unpack(form, reader.take(size))[0])


def _unused(reader: Reader, head: int) -> Value:
    raise BrokenBodyError(f"byte {reader.at - 1} is {head:#x}, which MessagePack never uses")


def _extension(reader: Reader, size: int) -> Value:
    kind = reader.integer(1, signed=True)
    content = reader.take(size)
    seconds = _seconds(content) if kind == _TIMESTAMP else None
    return {"#ext": kind, "value": bytes_value(content)} if seconds is None else {"#timestamp": seconds}


def _seconds(content: bytes) -> Decimal | None:
    """Return the seconds since 1970; None if the content is not a timestamp."""
    match len(content):
        case 4:
            nanos, seconds = 0, int.from_bytes(content, "big")
        case 8:
            nanos, seconds = divmod(int.from_bytes(content, "big"), 1 << _SECONDS_BITS)
        case 12:
            nanos, seconds = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:], "big", signed=True)
        case _:
            return None
    return None if nanos >= _NANOS else Decimal(seconds * _NANOS + nanos).scaleb(-9, EXACT)


_HEADS: Final[tuple[tuple[int, Callable[[Reader, int], Value]], ...]] = (
    (0x80, lambda _, head: head),
    (0x10, lambda reader, head: _map(reader, head & 0x0F)),
    (0x10, lambda reader, head: _array(reader, head & 0x0F)),
    (0x20, lambda reader, head: reader.text(head & 0x1F)),
    (1, lambda _reader, _head: None),
    (1, _unused),
    (1, lambda _reader, _head: False),
    (1, lambda _reader, _head: True),
    (3, lambda reader, head: bytes_value(reader.take(reader.integer(1 << head - 0xC4)))),
    (3, lambda reader, head: _extension(reader, reader.integer(1 << head - 0xC7))),
    (1, lambda reader, _: _float(reader, ">f", 4)),
    (1, lambda reader, _: _float(reader, ">d", 8)),
    (4, lambda reader, head: reader.integer(1 << head - 0xCC)),
    (4, lambda reader, head: reader.integer(1 << head - 0xD0, signed=True)),
    (5, lambda reader, head: _extension(reader, 1 << head - 0xD4)),
    (3, lambda reader, head: reader.text(reader.integer(1 << head - 0xD9))),
    (2, lambda reader, head: _array(reader, reader.integer(1 << head - 0xDB))),
    (2, lambda reader, head: _map(reader, reader.integer(1 << head - 0xDD))),
    (0x20, lambda _, head: head - 0x100),
)
"""The table of the specification: how many first bytes in a row have one meaning, and how to read their values."""
_READERS: Final = [read for count, read in _HEADS for _ in range(count)]
