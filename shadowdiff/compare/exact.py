"""Parse JSON with the fastest parser that is provably exact for the text.

No parser loses a digit or a duplicate member, and all tiers agree on which values are equal. One tier parses both texts
of a pair, because a float and a Decimal cannot be compared exactly.

1. orjson is exact if its dump of the value equals the text except for whitespace: such a text has no duplicates, and a
float's shortest text identifies the float. It is also exact if no number has 16 digits and dots in a row or an exponent
of three digits (a double represents 15 digits), and the text has as many colons as the dump, all unescaped: a dropped
member drops a colon.
2. msgspec with Decimal, if only digits were in doubt. The dump also proves that no member is missing, and limits depth.
3. Python's own parser with hooks, for everything else.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import Final, cast

import msgspec
import orjson

from shadowdiff.compare.sequence import grouped
from shadowdiff.compare.type_proof import Parsed, dump_of, is_canonical, stand_in
from shadowdiff.compare.work import Budget
from shadowdiff.rules.json_values import Constant, HugeInteger, HugeNumber, Repeated, Value

MAX_DEPTH: Final = 254
"""The maximum depth that orjson can write. All parsers have this limit, so they give the same result."""
_MAX_IN_STRINGS: Final = 128
"""The maximum number of levels of documents inside strings, which `documents` also applies."""
_FRAMES_PER_LEVEL: Final = 16
sys.setrecursionlimit(max(sys.getrecursionlimit(), (MAX_DEPTH + _MAX_IN_STRINGS) * _FRAMES_PER_LEVEL))
_GLANCES: Final = 16
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, also one that is never closed: otherwise each quote inside would be tried as a start."""
_BUT_BRACKETS: Final = bytes(code for code in range(256) if code not in b"[]{}")
_BUT_MARKS: Final = bytes(code for code in range(256) if code not in b'[]{}"')
_STEPS: Final = {code: 1 if code in b"[{" else -1 for code in b"[]{}"}
_MAX_INT_DIGITS: Final = 4000
FAST_BYTES_PER_UNIT: Final = 128
EXACT_BYTES_PER_UNIT: Final = 4
_SHAPES: Final = bytes.maketrans(b"123456789.E+", b"0000000000e-")
_LONG_RUN: Final = b"0" * 16
_START_BYTES: Final = 12
"""Texts with this many equal bytes seem to have one order of members, and blanks in the same places."""
_with_decimals: Final = msgspec.json.Decoder(float_hook=Decimal).decode


class NotJsonError(ValueError):
    """A text is not JSON; the message says why."""


def parse_both(primary: bytes, candidate: bytes, budget: Budget | None = None, *, may_try: bool = False) -> Parsed:
    """Parse both texts with the fastest tier that is exact for both.

    may_try: if the texts begin with the same characters, the caller checks whether the primary's text is canonical,
    because the caller dumps the common parts of both values anyway.
    Raises: NotJsonError (`parse_exact` shows which side is invalid), TooComplexError.
    """
    budget = budget or Budget()
    size = len(primary) + len(candidate)
    budget.spend(size // FAST_BYTES_PER_UNIT)
    try:
        other = orjson.loads(candidate)
        dump_other = orjson.dumps(other)
        canonical = dump_other == candidate or is_canonical(candidate, dump_other)
        if canonical or _is_short_and_whole(candidate, dump_other):
            one = orjson.loads(primary)
            if may_try and canonical and primary[:_START_BYTES] == candidate[:_START_BYTES]:
                return Parsed(one, other, 1, primary, dump_other, on_trial=True)
            dump = orjson.dumps(one)
            if dump == primary or is_canonical(primary, dump) or _is_short_and_whole(primary, dump):
                return Parsed(one, other, 1, dump, dump_other)
        one, dump = _decimals(primary)
        other, dump_other = _decimals(candidate)
        if _has_all_members(primary, dump) and _has_all_members(candidate, dump_other):
            return Parsed(one, other, 2, dump, dump_other)
    except (ValueError, ArithmeticError, RecursionError, orjson.JSONEncodeError):
        pass  # the exact parser reports the error, or reads texts that the other parsers cannot read
    budget.spend(size // EXACT_BYTES_PER_UNIT)
    return Parsed(parse_exact(primary), parse_exact(candidate), 3)


def settled(tried: Parsed, primary: bytes, candidate: bytes, budget: Budget) -> Parsed:
    """Parse both texts with a proved tier, after the trial of tier 1 failed."""
    with suppress(orjson.JSONEncodeError):
        dump = orjson.dumps(tried.primary)
        if is_canonical(primary, dump) or _is_short_and_whole(primary, dump):
            return Parsed(tried.primary, tried.candidate, 1, dump, tried.dump_other)
    return parse_both(primary, candidate, budget)


def _decimals(text: bytes) -> tuple[Value, bytes]:
    """Return a value with all its digits, and its dump.

    Raises: ValueError and others if the text is not JSON, nests too deeply, or has a number that Decimal cannot hold.
    """
    value = _with_decimals(text)
    try:
        return value, orjson.dumps(value, default=stand_in)
    except orjson.JSONEncodeError:  # an integer over 64 bits, or a value that nests too deeply
        check_depth(text)
        return value, dump_of(value)


def _has_all_members(text: bytes, dump: bytes) -> bool:
    """Whether orjson dropped no member: its colon would be missing, unless another colon is escaped."""
    if text.count(b":") != dump.count(b":"):
        return False
    return b"\\" not in text or (b"\\u003a" not in text and b"\\u003A" not in text)


def _is_short_and_whole(text: bytes, dump: bytes) -> bool:
    """Whether a double represents every number of the text exactly, and orjson dropped no member."""
    shape = text.translate(_SHAPES)
    return not (_LONG_RUN in shape or b"e000" in shape or b"e-000" in shape) and _has_all_members(text, dump)


def parse_exact(text: bytes) -> Value:
    """Return the value of a JSON text, with all digits and duplicates. Raises: NotJsonError."""
    check_depth(text)
    try:
        return cast("Value", _EXACT.decode(text.decode()))
    except UnicodeDecodeError as error:
        raise NotJsonError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at character {error.pos}") from error


def check_depth(text: bytes) -> None:
    """Raise NotJsonError if a text nests too deeply."""
    if is_too_deep(text):
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")


def members_of(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    """Return an object with these members, and all values of a duplicate name."""
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    return {name: Repeated(values) if len(values) > 1 else values[0] for name, values in grouped(pairs).items()}


def number_in(text: str) -> Decimal | HugeNumber:
    """Return a number with a fraction or an exponent, with all its digits."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return _huge(text)


def integer_in(text: str) -> int | HugeInteger:
    """Return an integer of any size."""
    return int(text) if len(text) <= _MAX_INT_DIGITS else HugeInteger(text)


def _huge(text: str) -> HugeNumber:
    """Normalize digits and exponent; keep an exponent with thousands of digits unchanged."""
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
    object_pairs_hook=members_of,
    parse_float=number_in,
    parse_int=integer_in,
    parse_constant=Constant,
)


def is_too_deep(text: bytes, levels: int = MAX_DEPTH) -> bool:
    """Whether a text nests too deeply, valid JSON or not."""
    brackets = _STRING.sub(b"", text).translate(None, _BUT_BRACKETS)
    return any(depth > levels for depth in accumulate(map(_STEPS.__getitem__, brackets)))


def is_shallow(text: bytes) -> bool:
    """Whether a quick check proves that valid JSON does not nest too deeply.

    The check succeeds if few brackets remain after empty pairs were removed a few times. A bracket in a string could
    close an open bracket, so a text with many brackets must have none in strings.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = text.translate(None, _BUT_MARKS)
    brackets = marks.translate(None, b'"')
    if len(brackets) <= 2 * MAX_DEPTH:
        return True
    if 2 * marks.count(b'""') != len(marks) - len(brackets):  # a string contains brackets
        return False
    for dropped in range(1, _GLANCES):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) <= 2 * (MAX_DEPTH - 2 * dropped):
            return True
    return False
