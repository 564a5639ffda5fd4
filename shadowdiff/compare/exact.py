"""Parse JSON exactly, by the fastest parser that provably cannot lie about this text.

In: the bytes of both bodies.  Out: both values in one representation, or why a side is not JSON.
Holds: no digit is lost, no duplicate member disappears, and the tier taken never changes what is equal.

Tier 1, orjson, is exact where its own dump gives back the text (canonical text has no duplicates, and a float's
shortest text names it), or where the text has no run of 16 digits and dots and no exponent of three digits (up to
15 digits go through a double unharmed) and as many colons as the dump (a dropped member takes its colon along;
an escaped colon could make up for it, so there is none). Tier 2, msgspec with Decimal, has the colon test alone.
Tier 3 is Python's own parser with hooks. A pair is parsed by one tier, since a float and a Decimal do not compare.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn, cast

import msgspec
import orjson

from shadowdiff.compare.values import Constant, HugeInteger, HugeNumber, Repeated, Value

MAX_DEPTH: Final = 254
"""orjson writes no deeper; the other tiers keep to it, so that the tier does not decide what is too deep."""

_MAX_INT_DIGITS: Final = 4000
_SHAPES: Final = bytes.maketrans(b"123456789.E+", b"0000000000e-")
_LONG_RUN: Final = b"0" * 16
_BRACKETS: Final = bytes(code for code in range(256) if code not in b"[]{}")


class NotJsonError(ValueError):
    """A text is not JSON; the message says why."""


class Parsed(msgspec.Struct, frozen=True):
    """Both values, and the tier that read them."""

    primary: Value
    candidate: Value
    tier: int


def parse_both(primary: bytes, candidate: bytes) -> Parsed:
    """Return both values by the fastest tier that is exact for both.

    Raises: NotJsonError; which side it was is learned by parsing each with `parse_exact`.
    """
    try:
        one = orjson.loads(primary)
        other = orjson.loads(candidate)
        if _is_plain(primary, one) and _is_plain(candidate, other):
            return Parsed(one, other, 1)
    except ValueError:
        return Parsed(parse_exact(primary), parse_exact(candidate), 3)
    try:
        one = _decimals(primary)
        other = _decimals(candidate)
    except (ValueError, ArithmeticError, RecursionError):
        one = other = None
    else:
        if _whole(primary, one) and _whole(candidate, other):
            return Parsed(one, other, 2)
    return Parsed(parse_exact(primary), parse_exact(candidate), 3)


def _is_plain(text: bytes, value: Value) -> bool:
    """Whether orjson read the text without loss.

    Raises: NotJsonError, where it is too deep.
    """
    try:
        dump = orjson.dumps(value)
    except orjson.JSONEncodeError:
        _too_deep()
    if dump == text:
        return True
    shape = text.translate(_SHAPES)
    return (
        _LONG_RUN not in shape
        and b"e000" not in shape
        and b"e-000" not in shape
        and text.count(b":") == dump.count(b":")
        and b"\\u003a" not in text
        and b"\\u003A" not in text
    )


_decimals: Final = msgspec.json.Decoder(float_hook=Decimal).decode


def _whole(text: bytes, value: Value) -> bool:
    """Whether msgspec dropped no member, and the value is not too deep."""
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        check_depth(text)
    return (
        text.count(b":") == msgspec.json.encode(value).count(b":") and b"\\u003a" not in text and b"\\u003A" not in text
    )


def parse_exact(text: bytes) -> Value:
    """Return the value of a JSON text, keeping every digit and every duplicate.

    Raises: NotJsonError.
    """
    check_depth(text)
    try:
        return cast("Value", _EXACT.decode(text.decode()))
    except UnicodeDecodeError as error:
        raise NotJsonError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at character {error.pos}") from error


def check_depth(text: bytes) -> None:
    """Refuse what nests too deeply, whatever stack the parser has.

    Raises: NotJsonError.
    """
    depth = 0
    for code in _STRING.sub(b"", text).translate(None, _BRACKETS):
        if code in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                _too_deep()
        else:
            depth -= 1


_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def _too_deep() -> NoReturn:
    raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")


def _members(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    said: dict[str, Repeated] = {}
    for name, value in pairs:
        said.setdefault(name, Repeated()).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in said.items()}


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _MAX_INT_DIGITS else HugeInteger(text)


def _number(text: str) -> Decimal | HugeNumber:
    try:
        return Decimal(text)
    except InvalidOperation:
        return _huge(text)


def _huge(text: str) -> HugeNumber:
    """Normalize digits and exponent; an exponent of thousands of digits stays as written."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return HugeNumber("0")
    sign = "-" if text.startswith("-") else ""
    if len(exponent) > _MAX_INT_DIGITS:
        return HugeNumber(f"{sign}{mantissa}e{exponent}")
    stripped = digits.rstrip("0")
    power = int(exponent) - len(fraction) + len(digits) - len(stripped)
    return HugeNumber(f"{sign}{stripped}e{power}")


_EXACT: Final = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_float=_number,
    parse_int=_integer,
    parse_constant=Constant,
)
