"""Find the relations of two numbers: an offset, a usual factor, rounding. The arithmetic is exact."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from shadowdiff.compare.instants import instant_of_number, relate_instants
from shadowdiff.model.relation import Relation
from shadowdiff.rules.json_values import EXACT

_INTEGER_AS_DECIMAL: Final = int(Relation.INTEGER_AS_DECIMAL)
_ROUNDED: Final = int(Relation.ROUNDED)
_SCALED: Final = int(Relation.SCALED)
_OFFSET: Final = int(Relation.OFFSET)
_GENERATED: Final = int(Relation.GENERATED)
Found = dict[int, str]
"""The relations that hold: the bit of each, and its parameter, or an empty text."""
MOST_DIGITS: Final = 28
"""Longer numbers have no relations, so that each result has fewer digits than `EXACT` keeps."""
_LARGEST: Final = 10**MOST_DIGITS
_SMALLEST: Final = Decimal("1e-16")
_FACTORS: Final = (10, 60, 100, 1000, 1024, 3600, 1_000_000)
_SLACK: Final = 0.006
_LEAST_FACTOR: Final = 9.9
_ROUNDED_DIGITS: Final = 100
"""A rounded part of a number has at least three digits; one with fewer may be a part of any number."""
_DURATION: Final = re.compile(
    r"(?:.*[_-])?(?:duration|elapsed|took|latency|uptime|runtime)(?:[_-]?(?:ms|us|ns|s|secs?|seconds|millis))?"
    r"|.*(?:query|response|request|process(?:ing)?|execution|render|load|cpu|wall)[_-]?(?:time[_-]?)?(?:ms|us|ns|s|secs?|seconds|time|millis)",
    re.IGNORECASE,
)
_COUNTER: Final = re.compile(
    r"(?:.*[_-])?(?:counter|seq|sequence(?:[_-]?(?:no|number))?|nonce|hits|visits|views|request[_-]?count)",
    re.IGNORECASE,
)
_TIME: Final = re.compile(
    r".*(?:[_-](?:at|on|ts)|[a-z]At|[a-z]On)|(?i:.*(?:time|date|timestamp|epoch|expir(?:es|y)|modified|created|updated))"
)
_MOST_NAME_CHARS: Final = 64


def named_form(name: str) -> str:
    """Return what a name says about its numbers: `duration`, `counter`, `clock`, or an empty text."""
    return _named_form(name) if len(name) <= _MOST_NAME_CHARS else ""


@lru_cache(maxsize=2048)
def _named_form(name: str) -> str:
    if _DURATION.fullmatch(name):
        return "duration"
    if _COUNTER.fullmatch(name):
        return "counter"
    return "clock" if _TIME.fullmatch(name) else ""


def is_usual(number: Decimal | int) -> bool:
    """Whether a number has a size for which relations are computed."""
    if number == 0:
        return True
    return _SMALLEST < number < _LARGEST or -_LARGEST < number < -_SMALLEST  # `abs` would round a tiny number to 0


def relate_numbers(one: Decimal | int, other: Decimal | int, name: str, found: Found, *, as_written: bool) -> None:
    """Find the relations of two numbers of at most `MOST_DIGITS` digits.

    name: of the member. as_written: whether a zero at the end of a fraction has a meaning, as in text.
    """
    form = named_form(name)
    if type(one) is int and type(other) is int:
        found[_OFFSET] = f"{other - one:+d}"
    else:
        one, other = Decimal(one), Decimal(other)
        _relate_decimals(one, other, found, as_written=as_written)
        if one == other:
            return
        found[_OFFSET] = signed(EXACT.subtract(other, one))
    if one and other and (factor := _factor(one, other)):
        found[_SCALED] = factor
    if form in {"duration", "counter"} and one >= 0 <= other:
        found[_GENERATED] = form
    instant = instant_of_number(one)
    if instant and (against := instant_of_number(other)):
        relate_instants(instant, against, found, certain=form == "clock")
        if len(found) > 1:
            found[_OFFSET] = ""  # the time has the same information


def signed(number: Decimal) -> str:
    """Return a number with its sign, without zeros at the end of its fraction."""
    text = f"{number:+f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def decimals(number: Decimal) -> int:
    """Return how many digits a number has after the point."""
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _relate_decimals(one: Decimal, other: Decimal, found: Found, *, as_written: bool) -> None:
    """Find rounding: one side is the other side's number with fewer decimals, rounded or cut."""
    if not as_written:
        one, other = one.normalize(EXACT), other.normalize(EXACT)
    digits, digits_other = decimals(one), decimals(other)
    if digits > digits_other and _is_rounded(one, other, digits_other):
        found[_ROUNDED] = f"any → {digits_other}"
    elif digits < digits_other and _is_rounded(other, one, digits):
        found[_ROUNDED] = f"{digits} → any"
    if as_written and one == other and 0 in {digits, digits_other} and digits != digits_other:
        found[_INTEGER_AS_DECIMAL] = "integer → decimal" if digits_other else "decimal → integer"


def _is_rounded(number: Decimal, rounded: Decimal, digits: int) -> bool:
    step = Decimal((0, (1,), -digits))
    gap = abs(EXACT.subtract(number, rounded))
    return 2 * gap <= step or (gap < step and abs(rounded) < abs(number))


def _factor(one: Decimal | int, other: Decimal | int) -> str:
    """Return the usual factor between two numbers, also if the smaller one is rounded; else an empty text."""
    if one == -other:
        return "-1"
    ratio = float(other) / float(one)
    if ratio > _LEAST_FACTOR:
        factor = _fitting(one, other, ratio)
        return str(factor) if factor else ""
    if 0 < ratio < 1 / _LEAST_FACTOR:
        factor = _fitting(other, one, 1 / ratio)
        return f"1/{factor}" if factor else ""
    return ""


def _fitting(part: Decimal | int, whole: Decimal | int, ratio: float) -> int:
    for factor in _FACTORS:
        if abs(ratio / factor - 1) < _SLACK:
            return factor if _is_part(part, whole, factor) else 0
    return 0


def _is_part(part: Decimal | int, whole: Decimal | int, factor: int) -> bool:
    product = part * factor if isinstance(part, int) else EXACT.multiply(part, factor)
    if product == whole:
        return True
    digits = 0 if isinstance(part, int) else decimals(part)
    if abs(part) * 10**digits < _ROUNDED_DIGITS:
        return False
    gap = abs(EXACT.subtract(Decimal(product), Decimal(whole)))
    return 2 * gap * 10**digits <= factor
