"""CBOR, and CBOR sequences as an array, compared by value.

This reader keeps what cbor2 drops: duplicate keys, keys that Python treats as equal (`1`, `1.0` and `true`), tags,
and bytes after the value. It gives tags no meaning, so that a body cannot refer to itself or run a pattern; only a big
integer becomes a number. Its depth is limited, and it reserves no memory for elements that do not follow.
Source: RFC 8949; RFC 8742 (sequences).
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.formats.format import BrokenBodyError, Format
from shadowdiff.compare.rich_values import Reader, bytes_value, float_value, object_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_SEQUENCE: Final = "cbor-seq"
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_MOST_SHORT, _MOST_SIZED = 23, 27
"""A head holds a count up to 23 itself. Up to 27 it is followed by 1, 2, 4 or 8 bytes."""
_FLOATS: Final = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}
_CONSTANTS: Final = {20: False, 21: True, 22: None}
_FEWEST_OF_TWO_BYTES: Final = 32
"""A simple value below 32 has only the encoding in one byte."""
_BIG, _BIG_NEGATIVE = 2, 3
_MAX_BIG_BYTES: Final = 1600
"""Longer integers stay bytes with a tag, because Python writes integers of at most 4,300 digits."""


class Cbor(Format):
    """Reads one value, or all values of a sequence."""

    name = "CBOR, `+cbor`, `application/cbor-seq`"
    docs = (
        "the value as JSON. A byte string is `{'#bytes': BASE64}`, a tag is `{'#tag': NUMBER, 'value': …}`, and"
        " `undefined` is `{'#simple': 23}`. A key that is not text becomes `#` and its JSON: `$['#1']`. A sequence is"
        " an array"
    )
    media_types = ("application/cbor", "+cbor", "application/cbor-seq", "+cbor-seq")
    is_binary = True
    has_lengths = True

    def value(self, body: bytes, media: Media) -> Value:
        reader = Reader(body)
        if not media.name.endswith(_SEQUENCE):
            return reader.finish(_value(reader))
        found: list[Value] = []
        while reader.peek() >= 0:
            found.append(_value(reader))
        return found


def _value(reader: Reader) -> Value:
    major, low = divmod(reader.byte(), 32)
    if major == _SIMPLE:
        return _simple(reader, low)
    count = None if low == _INDEFINITE and _BYTES <= major <= _MAP else _argument(reader, low)
    match major:
        case 2:
            return bytes_value(reader.take(count) if count is not None else b"".join(_chunks(reader, major)))
        case 3:
            return (
                reader.text(count)
                if count is not None
                else "".join(reader.decode(chunk) for chunk in _chunks(reader, major))
            )
        case 4 | 5:
            return _container(reader, major, count)
        case _:
            number = count or 0
            return number if major == _UNSIGNED else -1 - number if major == _NEGATIVE else _tagged(reader, number)


def _argument(reader: Reader, low: int) -> int:
    if low <= _MOST_SHORT:
        return low
    if low > _MOST_SIZED:
        raise BrokenBodyError(f"byte {reader.at - 1} has a reserved or indefinite length")
    return reader.integer(1 << low - _MOST_SHORT - 1)


def _container(reader: Reader, major: int, count: int | None) -> Value:
    reader.enter()
    found: Value = (
        [_value(reader) for _ in _items(reader, count)]
        if major == _ARRAY
        else object_of([(_value(reader), _value(reader)) for _ in _items(reader, count)])
    )
    reader.depth -= 1
    return found


def _items(reader: Reader, count: int | None) -> Iterator[int]:
    """Yield once for each element: up to the count, or up to the break, which is then read."""
    if count is not None:
        yield from range(count)
        return
    while reader.peek() != _BREAK:
        yield reader.at
    reader.byte()


def _chunks(reader: Reader, major: int) -> Iterator[bytes]:
    """Yield the chunks of a string of indefinite length. Each chunk has the string's type, and a length."""
    for _ in _items(reader, None):
        found, low = divmod(reader.byte(), 32)
        if found != major:
            raise BrokenBodyError(f"byte {reader.at - 1} does not begin a chunk of its string")
        yield reader.take(_argument(reader, low))


def _simple(reader: Reader, low: int) -> Value:
    if low in _CONSTANTS:
        return _CONSTANTS[low]
    if low in _FLOATS:
        form, size = _FLOATS[low]
        return float_value(struct.unpack(form, reader.take(size))[0])
    number = _argument(reader, low)
    if low > _MOST_SHORT and number < _FEWEST_OF_TWO_BYTES:
        raise BrokenBodyError(f"the simple value {number} has two bytes, but it must have one")
    return {"#simple": number}


def _tagged(reader: Reader, tag: int) -> Value:
    """Return a value with its tag. A big integer equals the same integer without a tag (RFC 8949 section 3.4.3)."""
    reader.enter()
    value = _value(reader)
    reader.depth -= 1
    if tag in {_BIG, _BIG_NEGATIVE} and isinstance(value, dict) and type(content := value.get("#bytes")) is str:
        number = base64.b64decode(content)
        if len(number) <= _MAX_BIG_BYTES:
            return int.from_bytes(number, "big") if tag == _BIG else -1 - int.from_bytes(number, "big")
    return {"#tag": tag, "value": value}
