"""Parse JSON exactly, by the fastest parser that provably cannot lie about this text.

In: the bytes of both bodies.  Out: both values in one representation, or why a side is not JSON.
Holds: no digit is lost, no duplicate member disappears, and the tier taken never changes what is equal.

Tier 1, orjson, is exact where its own dump gives back the text but for blanks (canonical text has no duplicates,
and a float's shortest text names it), or where the text has no run of 16 digits and dots and no exponent of three
digits (up to 15 digits go through a double unharmed) and as many colons as the dump (a dropped member takes its colon
along; an escaped colon could make up for it, so there is none). Tier 2, where only digits were in doubt, is msgspec
with Decimal: that members are whole and the depth is bounded was learned from orjson's dump.
Tier 3 is Python's own parser with hooks. A pair is parsed by one tier, since a float and a Decimal do not compare.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Final, cast

import msgspec
import orjson

from shadowdiff.compare.depth import MAX_DEPTH, is_too_deep
from shadowdiff.compare.proof import dump_of, is_canonical, stand_in
from shadowdiff.compare.values import Constant, HugeInteger, HugeNumber, Repeated, Value

_MAX_INT_DIGITS: Final = 4000
_SHAPES: Final = bytes.maketrans(b"123456789.E+", b"0000000000e-")
_LONG_RUN: Final = b"0" * 16


class NotJsonError(ValueError):
    """A text is not JSON; the message says why."""


class Parsed(msgspec.Struct, gc=False):
    """Both values, the tier that read them, and the text that orjson writes of each where that is at hand.

    hoped: whether `dump` is but the primary's own text, so that tier 1 is yet to be shown to be exact for it.
    """

    primary: Value
    candidate: Value
    tier: int
    dump: bytes = b""
    dump_other: bytes = b""
    hoped: bool = False

    def settled(self, primary: bytes, candidate: bytes) -> Parsed:
        """Return what holds where the hope was in vain."""
        with suppress(orjson.JSONEncodeError):
            dump = orjson.dumps(self.primary)
            if is_canonical(primary, dump) or _is_short_and_whole(primary, dump):
                return Parsed(self.primary, self.candidate, 1, dump, self.dump_other)
        return parse_both(primary, candidate)


def parse_both(primary: bytes, candidate: bytes, *, hopeful: bool = False) -> Parsed:
    """Return both values by the fastest tier that is exact for both.

    hopeful: whoever asks will write what both values have in common anyway, and so sees whether the primary's text
    is canonical; where the two texts begin alike, that is left to them.
    Raises: NotJsonError; which side it was is learned by parsing each with `parse_exact`.
    """
    try:
        other = orjson.loads(candidate)
        dump_other = orjson.dumps(other)
        canonical = dump_other == candidate or is_canonical(candidate, dump_other)
        if canonical or _is_short_and_whole(candidate, dump_other):
            one = orjson.loads(primary)
            if hopeful and canonical and primary[:_START_BYTES] == candidate[:_START_BYTES]:
                return Parsed(one, other, 1, primary, dump_other, hoped=True)
            dump = orjson.dumps(one)
            if dump == primary or is_canonical(primary, dump) or _is_short_and_whole(primary, dump):
                return Parsed(one, other, 1, dump, dump_other)
        one, dump = _decimals(primary)
        other, dump_other = _decimals(candidate)
        if _has_all_members(primary, dump) and _has_all_members(candidate, dump_other):
            return Parsed(one, other, 2, dump, dump_other)
    except (ValueError, ArithmeticError, RecursionError, orjson.JSONEncodeError):
        pass  # the exact parser says what is wrong, or reads what the others could not
    return Parsed(parse_exact(primary), parse_exact(candidate), 3)


def _decimals(text: bytes) -> tuple[Value, bytes]:
    """Return a value with every digit, and a dump of it.

    Raises: ValueError and others, where the text is no JSON, nests too deeply or holds what Decimal does not.
    """
    value = _with_decimals(text)
    try:
        return value, orjson.dumps(value, default=stand_in)
    except orjson.JSONEncodeError:  # an integer past 64 bits, or too deep
        check_depth(text)
        return value, dump_of(value)


_with_decimals: Final = msgspec.json.Decoder(float_hook=Decimal).decode


def _is_short_and_whole(text: bytes, dump: bytes) -> bool:
    """Whether neither a digit nor a member of the text can have been lost."""
    return _is_short(text) and _has_all_members(text, dump)


_START_BYTES: Final = 12
"""Texts that agree in so much seem to have their members in one order, and blanks in the same places."""


def _has_all_members(text: bytes, dump: bytes) -> bool:
    """Whether orjson cannot have dropped a member: a dropped one takes a colon along, unless another is escaped."""
    if text.count(b":") != dump.count(b":"):
        return False
    return b"\\" not in text or (b"\\u003a" not in text and b"\\u003A" not in text)


def _is_short(text: bytes) -> bool:
    """Whether every number of the text goes through a double unharmed."""
    shape = text.translate(_SHAPES)
    return not (_LONG_RUN in shape or b"e000" in shape or b"e-000" in shape)


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
    if is_too_deep(text):
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
