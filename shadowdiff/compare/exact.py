"""Parse JSON exactly, by the fastest parser that provably cannot lie about this text.

In: the bytes of both bodies.  Out: both values in one representation, or why a side is not JSON.
Holds: no digit is lost, no duplicate member disappears, and the tier taken never changes what is equal.

Tier 1, orjson, is exact where its own dump gives back the text (canonical text has no duplicates, and a float's
shortest text names it), or where the text has no run of 16 digits and dots and no exponent of three digits (up to
15 digits go through a double unharmed) and as many colons as the dump (a dropped member takes its colon along;
an escaped colon could make up for it, so there is none). Tier 2, where only digits were in doubt, is msgspec with
Decimal: that members are whole and the depth is bounded was learned from orjson's dump.
Tier 3 is Python's own parser with hooks. A pair is parsed by one tier, since a float and a Decimal do not compare.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple, NoReturn, cast

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


class Parsed(NamedTuple):
    """Both values, the tier that read them, and the primary's text as orjson writes it where that is at hand."""

    primary: Value
    candidate: Value
    tier: int
    dump: bytes = b""


def parse_both(primary: bytes, candidate: bytes) -> Parsed:
    """Return both values by the fastest tier that is exact for both.

    Raises: NotJsonError; which side it was is learned by parsing each with `parse_exact`.
    """
    try:
        one, other = orjson.loads(primary), orjson.loads(candidate)
        dump = orjson.dumps(one)
        doubt = _doubt(primary, dump) | _doubt(candidate, orjson.dumps(other))
        if not doubt:
            return Parsed(one, other, 1, dump)
        if doubt == _DIGITS:
            return Parsed(_decimals(primary), _decimals(candidate), 2)
    except (ValueError, ArithmeticError, RecursionError, orjson.JSONEncodeError):
        pass  # the exact parser says what is wrong, or reads what the others could not
    return Parsed(parse_exact(primary), parse_exact(candidate), 3)


_SURE: Final = 0
_DIGITS: Final = 1
_MEMBERS: Final = 2


def _doubt(text: bytes, dump: bytes) -> int:
    """Return what orjson may have lost between a text and its own dump of it: digits, members or nothing."""
    if dump == text:
        return _SURE
    if text.count(b":") != dump.count(b":") or (b"\\" in text and (b"\\u003a" in text or b"\\u003A" in text)):
        return _MEMBERS
    shape = text.translate(_SHAPES)
    if _LONG_RUN in shape or b"e000" in shape or b"e-000" in shape:
        return _DIGITS
    return _SURE


_decimals: Final = msgspec.json.Decoder(float_hook=Decimal).decode


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


_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or one that is never closed: that must match as well, or each quote inside would be tried anew."""


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
