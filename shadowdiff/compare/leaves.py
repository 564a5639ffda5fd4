"""Whether a rule calls two differing values equal enough: tolerance, mask, equivalent.

In: a leaf rule and both values (or `MISSING`).  Out: yes or no.
Holds: exact arithmetic; a value that the rule does not speak of is never covered by it.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.values import MISSING, HugeInteger, Missing, Value
from shadowdiff.rules.rule import RuleKind

if TYPE_CHECKING:
    from shadowdiff.rules.compiled import Leaf
    from shadowdiff.rules.rule import Tolerance

_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[])
_NUMERIC: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_MAX_NUMERIC_CHARS: Final = 400
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def covers(leaf: Leaf, one: Value | Missing, other: Value | Missing) -> bool:
    """Whether the rule calls the two equal enough."""
    if leaf.kind is RuleKind.EQUIVALENT:
        return _equivalent(leaf, one, other)
    if isinstance(one, Missing) or isinstance(other, Missing):
        return False
    if leaf.tolerance is not None:
        return _tolerates(leaf.tolerance, one, other)
    return leaf.mask is not None and type(one) is str and type(other) is str and _masked(leaf, one, other)


def _masked(leaf: Leaf, one: str, other: str) -> bool:
    if leaf.mask is None:
        return False
    hidden = leaf.mask.apply(one)
    return hidden is not None and hidden == leaf.mask.apply(other)


def _equivalent(leaf: Leaf, one: Value | Missing, other: Value | Missing) -> bool:
    if leaf.absent and _absence(one) in leaf.absent and _absence(other) in leaf.absent:
        return True
    if leaf.case and type(one) is str and type(other) is str and one.casefold() == other.casefold():
        return True
    if not leaf.number or isinstance(one, Missing) or isinstance(other, Missing):
        return False
    left, right = _numeric(one), _numeric(other)
    return left is not None and right is not None and left == right


def _absence(value: Value | Missing) -> str:
    if value is None:
        return "null"
    if value is MISSING:
        return "missing"
    return "empty" if value == "" or (isinstance(value, (list, dict)) and not value) else "something"


def _numeric(value: Value) -> Decimal | None:
    """Read a number, or a string that is written as one."""
    if type(value) is str:
        value = value.strip()
        if len(value) > _MAX_NUMERIC_CHARS or not _NUMERIC.fullmatch(value):
            return None
        try:
            return Decimal(value)
        except InvalidOperation:
            return None
    return number_of(value)


def number_of(value: Value) -> Decimal | None:
    """Return a number as its exact decimal; None for what is not a number, or past what Decimal holds."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal, HugeInteger)):
        return Decimal(value)
    return Decimal(repr(value)) if isinstance(value, float) else None


def _tolerates(tolerance: Tolerance, one: Value, other: Value) -> bool:
    left, right = number_of(one), number_of(other)
    if left is not None and right is not None and _near(tolerance, left, right):
        return True
    if tolerance.time_s is None:
        return False
    then, now = _seconds(one), _seconds(other)
    return then is not None and now is not None and abs(then - now) <= Decimal(repr(tolerance.time_s))


def _near(tolerance: Tolerance, left: Decimal, right: Decimal) -> bool:
    apart = _EXACT.abs(_EXACT.subtract(left, right))
    if not apart.is_finite():
        return False
    if tolerance.abs is not None and apart <= Decimal(repr(tolerance.abs)):
        return True
    if tolerance.rel is not None:
        largest = max(_EXACT.abs(left), _EXACT.abs(right))
        if apart <= _EXACT.multiply(largest, Decimal(repr(tolerance.rel))):
            return True
    if tolerance.digits is None:
        return False
    rounding = Context(prec=tolerance.digits, rounding=ROUND_HALF_EVEN, traps=[])
    return rounding.plus(left) == rounding.plus(right)


def _seconds(value: Value) -> Decimal | None:
    """Read a time: ISO 8601 text, or a number since 1970, in seconds or (by its size) in smaller units."""
    if type(value) is str:
        try:
            read = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
        read = read if read.tzinfo else read.replace(tzinfo=dt.UTC)
        apart = read - _EPOCH
        return Decimal(apart.days * 86_400 + apart.seconds) + Decimal(apart.microseconds) / 1_000_000
    number = number_of(value)
    if number is None:
        return None
    for floor, unit in ((Decimal(10) ** 17, 9), (Decimal(10) ** 14, 6), (Decimal(10) ** 11, 3)):
        if abs(number) >= floor:
            return number.scaleb(-unit, _EXACT)
    return number
