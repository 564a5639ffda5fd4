"""The values that bodies decode to, and what makes two of them the same.

A value is what JSON has: None, bool, int, str, list, dict; a number written with fraction or exponent is a float
(where that is exact) or a Decimal. Beyond JSON's data model: `HugeInteger`, `HugeNumber`, `Constant` (NaN), and
`Repeated` (the values of a member name written more than once).
Holds: `1`, `1.0`, `true` and `"1"` are four values; within its kind a number equals by its exact decimal value.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, TypeAlias

Value: TypeAlias = "bool | int | float | Decimal | str | list[Value] | dict[str, Value] | None"
Kind = Literal["null", "boolean", "integer", "number", "string", "array", "object", "repeated", "constant"]


class HugeInteger(Decimal):
    """An integer of more digits than Python turns into an int."""

    __slots__ = ()


class HugeNumber(str):
    """A number past what Decimal holds, as digits and exponent in one normal form."""

    __slots__ = ()


class Constant(str):
    """`NaN`, `Infinity` or `-Infinity`, which some servers write though JSON has no such thing."""

    __slots__ = ()


class Repeated(list["Value"]):
    """What one object says under one name, where it says the name more than once."""

    __slots__ = ()


class Missing:
    """The value of what is not there."""

    __slots__ = ()

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
    """Name the JSON type of a value."""
    return _KINDS[type(value)]


def alike(one: Value, other: Value) -> bool:
    """Whether two values that are equal for Python are of the same kinds throughout."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return all(map(alike, one, other))
    return True


def same(one: Value, other: Value) -> bool:
    """Whether two values are the same, kinds included."""
    return one == other and alike(one, other)
