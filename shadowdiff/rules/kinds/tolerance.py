"""`tolerance`: numbers and times may differ by a small amount. The arithmetic is exact."""

from __future__ import annotations

import datetime as dt
import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import msgspec

from shadowdiff.rules.json_values import EXACT, Missing, Value, number_of, numeric
from shadowdiff.rules.kinds.kind import ValueRule, ValueRuleKind
from shadowdiff.rules.rule import HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.rules.kinds.kind import Options
    from shadowdiff.rules.rule import Rule

_BOUNDS: Final = ("abs", "rel", "digits", "time")
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")
_UNIT_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DIGITS_MAX: Final = 1000
_BOUND: Final = {"type": "number", "minimum": 0}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for the difference between two values. The rule covers two values that are within at least one limit.

    digits: number of significant digits to which the rounded values must be equal.  time_s: maximum time difference.
    """

    abs: float | None = None
    rel: float | None = None
    digits: int | None = None
    time_s: float | None = None


class _Close(ValueRule):
    covers_missing = False

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        bounds: Bounds = rule.options
        self._bounds: Final = bounds
        # times, and ratios that allow a change of sign, do not form an interval
        self.is_interval = bounds.time_s is None and (bounds.rel is None or bounds.rel < 1)

    def covers(self, one: Value | Missing, other: Value | Missing) -> bool:
        """Return whether both values are numbers or times in one notation, and they are close."""
        if isinstance(one, Missing) or isinstance(other, Missing):
            return False
        read = numeric if type(one) is type(other) is str else number_of
        left, right = read(one), read(other)
        if left is not None and right is not None and self._are_near(left, right):
            return True
        if self._bounds.time_s is None:
            return False
        times = _times(one, other) or _unix_times(left, right)
        return times is not None and EXACT.abs(EXACT.subtract(*times)) <= Decimal(repr(self._bounds.time_s))

    def _are_near(self, left: Decimal, right: Decimal) -> bool:
        bounds = self._bounds
        distance = EXACT.abs(EXACT.subtract(left, right))
        if not distance.is_finite():
            return False
        if bounds.abs is not None and distance <= Decimal(repr(bounds.abs)):
            return True
        if bounds.rel is not None:
            largest = max(EXACT.abs(left), EXACT.abs(right))
            if distance <= EXACT.multiply(largest, Decimal(repr(bounds.rel))):
                return True
        if bounds.digits is None:
            return False
        rounding = Context(prec=bounds.digits, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
        return rounding.plus(left) == rounding.plus(right)


class Tolerance(ValueRuleKind):
    """Covers numbers and times that are close to each other."""

    name = "tolerance"
    example = '`{tolerance: {path: "$.total", abs: 0.01, rel: 0.001, digits: 6, time: 2s}}`'
    covers = (
        "numbers that differ by at most `abs`, or by `rel` times the larger number, or that are equal at `digits`"
        " significant digits; times (ISO 8601, or seconds, ms, µs, ns since 1970) that differ by at most `time`. One of"
        ' these conditions is enough. Numbers may be text on both sides: `"10.00"`, XML, forms. Values in different'
        " notations are not covered: different units, a number and a string, a time without a zone"
    )
    places = (HEADER,)
    value_rule = _Close
    options: ClassVar[Mapping[str, Any]] = {
        "abs": _BOUND,
        "rel": _BOUND,
        "digits": {"type": "integer", "minimum": 1},
        "time": {"type": ["string", "number"]},
    }

    def parse(self, options: Options) -> Bounds:
        if not any(key in options.values for key in _BOUNDS):
            raise options.error_of_all("at least one of abs, rel, digits, time is needed")
        for key in ("abs", "rel"):
            if key in options.values and not _is_number(options.get(key)):
                raise options.error(key, "expected a number of 0 or more")
        digits = options.get("digits")
        if digits is not None and not (type(digits) is int and 1 <= digits <= _DIGITS_MAX):
            raise options.error("digits", f"expected 1 to {_DIGITS_MAX:,} significant digits")
        return Bounds(
            abs=cast("float | None", options.get("abs")),
            rel=cast("float | None", options.get("rel")),
            digits=digits if isinstance(digits, int) else None,
            time_s=_duration_s(options) if "time" in options.values else None,
        )

    def declare(self, rule: Rule) -> dict[str, Any]:
        bounds = dict(zip(_BOUNDS, msgspec.structs.astuple(rule.options), strict=True))
        return {name: value for name, value in bounds.items() if value is not None}


def _duration_s(options: Options) -> float:
    value = options.get("time")
    if _is_number(value):
        return float(cast("float", value))
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise options.error("time", "expected a duration such as 500ms, 2s or 1m")
    return float(found.group(1)) * _UNIT_S[found.group(2)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _times(one: Value, other: Value) -> tuple[Decimal, Decimal] | None:
    """Return two ISO 8601 times in seconds; None if only one has a zone, because a change of format must count."""
    if type(one) is not str or type(other) is not str:
        return None
    then, now = _instant(one), _instant(other)
    return (then[0], now[0]) if then and now and then[1] == now[1] else None


def _unix_times(left: Decimal | None, right: Decimal | None) -> tuple[Decimal, Decimal] | None:
    """Return two Unix times in seconds. The larger number determines the unit."""
    if left is None or right is None:
        return None
    larger = max(abs(left), abs(right))
    unit = next((unit for floor, unit in _UNITS if larger >= floor), 0)
    return left.scaleb(-unit, EXACT), right.scaleb(-unit, EXACT)


_UNITS: Final = ((Decimal(10) ** 17, 9), (Decimal(10) ** 14, 6), (Decimal(10) ** 11, 3))
"""The smallest numbers that are read as nano-, micro- and milliseconds since 1970."""
_1970: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PAST_MICROSECONDS: Final = re.compile(r"[.,][0-9]{6}([0-9]+)")
_MAX_DIGITS_PAST_MICROSECONDS: Final = 12


def _instant(text: str) -> tuple[Decimal, bool] | None:
    """Return an ISO 8601 time in seconds since 1970 with all digits, and whether the text has a zone."""
    try:
        read = dt.datetime.fromisoformat(text.upper())  # RFC 3339 allows `t` and `z`
    except ValueError:
        return None
    has_zone = read.tzinfo is not None
    since = (read if has_zone else read.replace(tzinfo=dt.UTC)) - _1970
    more = _PAST_MICROSECONDS.search(text)
    seconds = Decimal(since // dt.timedelta(microseconds=1)).scaleb(-6)
    return seconds + (Decimal(f"0.000000{more[1][:_MAX_DIGITS_PAST_MICROSECONDS]}") if more else 0), has_zone
