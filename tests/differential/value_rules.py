"""Decide whether one value rule (tolerance, mask, equivalent) covers two values, as docs/rules.md describes."""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import permutations
from typing import Any, Final

Value = tuple[str, Any]
"""A tag and what it holds: `("integer", 1)`, `("array", (…))`, `("object", ((name, value), …))`; compares exactly."""
MISSING: Final[Value] = ("missing", None)
LEAVES: Final = ("tolerance", "mask", "equivalent")
SCALARS: Final = ("null", "boolean", "integer", "number", "string")

_NUMERAL: Final = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UNITS: Final = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60)}


def covers(kind: str, options: dict[str, Any], one: Value, other: Value) -> bool:
    """Return whether the rule treats the two values as equal."""
    if kind == "equivalent":
        return _equivalent(options["as"], one, other)
    if kind == "mask":
        return one[0] == other[0] == "string" and hide([options], one[1]) == hide([options], other[1])
    return _tolerates(options, one, other)


def covers_together(rules: list[tuple[str, dict[str, Any]]], one: Value, other: Value) -> bool:
    """Return whether some masks, applied one after the other in any order, leave equal strings.

    The docs do not define whether several masks of one path work together.
    """
    if one[0] != "string" or other[0] != "string":
        return False
    masks = [options for kind, options in rules if kind == "mask"]
    folds = any(kind == "equivalent" and "case" in options["as"] for kind, options in rules)
    for fold in (False, True)[: 1 + folds]:
        left, right = (one[1].casefold(), other[1].casefold()) if fold else (one[1], other[1])
        for count in range(len(masks) + 1):
            for chosen in permutations(masks, count):
                hidden, hidden_other = hide(chosen, left), hide(chosen, right)
                if hidden == hidden_other or (folds and hidden.casefold() == hidden_other.casefold()):
                    return True
    return False


def hide(masks: Any, text: str) -> str:
    """Apply each mask to the text in turn, and return the result."""
    for options in masks:
        flags = re.ASCII | (re.MULTILINE if options["path"] == "text" else 0)
        text = re.sub(options["pattern"], lambda _: options.get("with", "*"), text, flags=flags)  # noqa: B023
    return text


def _equivalent(classes: list[str | None], one: Value, other: Value) -> bool:
    named = {"null" if word is None else word for word in classes}
    if "zero" in named and MISSING in (one, other) and (_is_zero(one) or _is_zero(other)):
        return True
    if _absence(one) in named and _absence(other) in named:
        return True
    if "case" in named and one[0] == other[0] == "string" and one[1].casefold() == other[1].casefold():
        return True
    return "number" in named and _numeral(one) is not None and _numeral(one) == _numeral(other)


def _is_zero(value: Value) -> bool:
    return _absence(value) in {"null", "empty"} or value == ("boolean", False) or _number(value) == 0


def _absence(value: Value) -> str:
    if value[0] in {"null", "missing"}:
        return value[0]
    return "empty" if value[0] in {"string", "array", "object"} and not value[1] else "something"


def _numeral(value: Value) -> Fraction | None:
    if value[0] == "string":
        return Fraction(value[1]) if _NUMERAL.fullmatch(value[1]) else None
    return _number(value)


def _number(value: Value) -> Fraction | None:
    return Fraction(value[1]) if value[0] in {"integer", "number"} else None


def _tolerates(options: dict[str, Any], one: Value, other: Value) -> bool:
    left, right = _numbers(one, other)
    if left is not None and right is not None:
        apart = abs(left - right)
        if "abs" in options and apart <= Fraction(str(options["abs"])):
            return True
        if "rel" in options and apart <= Fraction(str(options["rel"])) * max(abs(left), abs(right)):
            return True
        if "digits" in options and _rounded(one, options["digits"]) == _rounded(other, options["digits"]):
            return True
    times = _seconds(one, other)
    return "time" in options and times is not None and abs(times[0] - times[1]) <= _duration(options["time"])


def _numbers(one: Value, other: Value) -> tuple[Fraction | None, Fraction | None]:
    """Read two numbers, which may be text on both sides."""
    read = _numeral if one[0] == other[0] == "string" else _number
    return read(one), read(other)


def _rounded(value: Value, digits: int) -> Decimal:
    return Context(prec=digits, rounding=ROUND_HALF_EVEN).create_decimal(Decimal(value[1]))


def _duration(text: str) -> Fraction:
    found = re.fullmatch(r"(\d+)(ms|s|m)", text)
    if found is None:
        raise ValueError(text)
    return int(found[1]) * _UNITS[found[2]]


def _seconds(one: Value, other: Value) -> tuple[Fraction, Fraction] | None:
    """Read two times: ISO 8601 texts, or numbers since 1970 in the unit that the larger number implies."""
    if one[0] == other[0] == "string":
        then, now = _iso(one[1]), _iso(other[1])
        if then is not None and now is not None:
            return then, now
    left, right = _numbers(one, other)
    if left is None or right is None:
        return None
    unit = next((unit for digits, unit in ((17, 9), (14, 6), (11, 3)) if max(abs(left), abs(right)) >= 10**digits), 0)
    return left / 10**unit, right / 10**unit


def _iso(text: str) -> Fraction | None:
    try:
        time = dt.datetime.fromisoformat(text.upper()) if _TIME.fullmatch(text) else None
    except ValueError:
        return None
    return None if time is None else Fraction(int(time.timestamp()))
