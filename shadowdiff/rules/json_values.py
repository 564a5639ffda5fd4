"""Define the values of decoded bodies, and functions to compare values and access members.

A value has a JSON type: None, bool, int, str, list, dict. A number with a fraction or an exponent is a float (if that
is exact) or a Decimal. Four types extend JSON's data model: `HugeInteger`, `HugeNumber`, `Constant` (NaN) and
`Repeated`. `1`, `1.0`, `true` and `"1"` are four different values. Numbers of the same kind are compared exactly.
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final, Literal, TypeAlias, cast

Value: TypeAlias = "bool | int | float | Decimal | str | list[Value] | dict[str, Value] | None"
Kind = Literal["null", "boolean", "integer", "number", "string", "array", "object", "repeated", "constant"]


class HugeInteger(Decimal):
    """An integer with more digits than Python converts to an int."""

    __slots__ = ()


class HugeNumber(str):
    """A number beyond the range of Decimal, as normalized digits and exponent."""

    __slots__ = ()


class Constant(str):
    """`NaN`, `Infinity` or `-Infinity`. NaN and the infinities, which JSON does not have but some servers send."""

    __slots__ = ()


class Repeated(list["Value"]):
    """The values of a member name that occurs more than once in an object.

    These values are not an array: rules that name the member apply to each value. The order and number of values
    matter, because most JSON parsers use the last value.
    """


class Missing:
    """The value of a member or element that one side does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()

_KINDS: Final[dict[type, Kind]] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    HugeInteger: "integer",
    float: "number",
    Decimal: "number",
    HugeNumber: "number",
    str: "string",
    list: "array",
    dict: "object",
    Repeated: "repeated",
    Constant: "constant",
}


def kind_of(value: Value) -> Kind:
    """Return the name of a value's JSON type."""
    return _KINDS[type(value)]


def same_kinds(one: Value, other: Value) -> bool:
    """Return whether two values that are equal in Python also have the same kinds at every level."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same_kinds(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return all(map(same_kinds, one, other))
    return True


def same(one: Value, other: Value) -> bool:
    """Return whether two values are equal and have the same kinds."""
    return one == other and same_kinds(one, other)


EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])
_NUMERIC: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_MAX_NUMERIC_CHARS: Final = 400


def numeric(value: Value) -> Decimal | None:
    """Return the exact decimal of a number or of a string with a number; None for other values."""
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
    """Return the exact decimal of a number; None for other values and beyond the range of Decimal."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal)):
        return Decimal(value)
    return Decimal(repr(value)) if isinstance(value, float) else None


def unlike(one: dict[str, Value], other: dict[str, Value]) -> list[str] | None:
    """Return the member names with unequal values; None if the objects have different member names."""
    if len(one) != len(other):
        return None
    names: list[str] = []
    try:
        for name, value in one.items():  # a comprehension would take 1.5 times as long
            if value != other[name]:
                names.append(name)
    except KeyError:
        return None
    return names


def member_at(value: Value, names: tuple[str, ...]) -> Value | Missing:
    """Return the member at the end of a path of names."""
    for name in names:
        if type(value) is not dict or name not in value:
            return MISSING
        value = value[name]
    return value


def without(value: Value, names: tuple[str, ...]) -> Value:
    """Return a copy without the member at the end of an existing path; of a whole value, an empty object is left."""
    if not names:
        return {}
    copy = dict(cast("dict[str, Value]", value))
    if len(names) == 1:
        del copy[names[0]]
    else:
        copy[names[0]] = without(copy[names[0]], names[1:])
    return copy


def with_member(value: Value, names: tuple[str, ...], placed: Value) -> Value:
    """Return a copy with `placed` at the end of the path."""
    copy = dict(value) if isinstance(value, dict) else {}
    copy[names[0]] = placed if len(names) == 1 else with_member(copy.get(names[0]), names[1:], placed)
    return copy


def with_objects(value: Value, names: tuple[str, ...]) -> Value:
    """Return a copy with empty objects where a path of names has no value."""
    if not names or type(value) is not dict:
        return value
    return {**value, names[0]: with_objects(value.get(names[0], {}), names[1:])}
