"""Prove that values that are equal under `==` also have equal types.

Python treats `1`, `1.0` and `True` as equal, but a JSON writer writes a different text for each of them, so equal dumps
prove equal types. Differing places of v2 first get v1's value; if the proof fails, they get their own value back. For
bodies of 1.4 kB, this is a tenth faster than copying the equal parts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec
import orjson

from shadowdiff.rules.json_values import Value

Cut = tuple[dict[str, Value] | list[Value], str | int, Value]
"""A place in v2 that differs, as container and step, and v1's value."""
stand_in: Final = Decimal.is_zero
"""Represents a Decimal in a dump that only shows kinds: `true` for 0 and `false` for other numbers.

No integer is written as a boolean, and a boolean takes a third of the time of a text.
"""
_dump_huge: Final = msgspec.json.Encoder(order="sorted").encode
_SORTED: Final = orjson.OPT_SORT_KEYS
_BLANKS: Final = b" \t\n\r"
_HEAD_BYTES: Final = 64
"""A text without blanks at its start rarely has them later, so they are not searched for."""


class Parsed(msgspec.Struct, gc=False):
    """Two values, the tier that parsed them, and orjson's text of each value if it is known.

    on_trial: whether `dump` is the primary's original text, and it is not yet proved that tier 1 is exact for it.
    """

    primary: Value
    candidate: Value
    tier: int
    dump: bytes = b""
    dump_other: bytes = b""
    on_trial: bool = False


def dump_of(value: Value) -> bytes:
    """Return a text that differs if equal values have different types."""
    try:
        return orjson.dumps(value, default=stand_in)
    except orjson.JSONEncodeError:  # an integer over 64 bits
        return _dump_huge(value)


def alike_sorted(one: Value, other: Value) -> bool:
    """Whether equal values have equal types."""
    try:
        return orjson.dumps(one, stand_in, _SORTED) == orjson.dumps(other, stand_in, _SORTED)
    except orjson.JSONEncodeError:  # an integer over 64 bits
        return _dump_huge(one) == _dump_huge(other)


def alike(one: Value, other: Value, dump: bytes = b"") -> bool:
    """Whether equal values have equal types; sorts only if member order differs. dump: of `one`, if known."""
    if _in_one_order(one, other) and (dump or dump_of(one)) == dump_of(other):
        return True
    return alike_sorted(one, other)


def alike_but(cuts: list[Cut], one: Value, other: Value) -> bool:
    """Whether two values have equal types except at the cuts. If not, the values remain unchanged."""
    undo = _place(cuts)
    return alike(one, other) or _put_back(undo)


def whole_alike_but(cuts: list[Cut], parsed: Parsed) -> bool:
    """Whether both whole values have equal types except at the cuts. If not, the values remain unchanged.

    If the primary's text was parsed on trial, the dump of v2's value, with v1's values at the cuts, must equal it.
    """
    undo = _place(cuts)
    if parsed.on_trial:
        proved = writes(parsed.candidate, parsed.dump) or (
            is_settled(parsed) and alike_sorted(parsed.primary, parsed.candidate)
        )
    else:
        proved = alike(parsed.primary, parsed.candidate, parsed.dump)
    return proved or _put_back(undo)


def is_settled(parsed: Parsed) -> bool:
    """Whether the tier is proved exact for both texts."""
    return not parsed.on_trial or writes(parsed.primary, parsed.dump)


def writes(value: Value, text: bytes) -> bool:
    """Whether a text equals orjson's dump of the value, except for whitespace."""
    try:
        return is_canonical(text, orjson.dumps(value))
    except orjson.JSONEncodeError:  # too deep
        return False


def is_canonical(text: bytes, dump: bytes) -> bool:
    """Whether a text equals orjson's dump byte for byte, except for whitespace."""
    return dump == text or (
        b": " in text[:_HEAD_BYTES] and dump.translate(None, _BLANKS) == text.translate(None, _BLANKS)
    )


def _place(cuts: list[Cut]) -> list[Cut]:
    undo: list[Cut] = []
    for container, step, value in cuts:
        undo.append((container, step, container[step]))  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownArgumentType]
        container[step] = value  # pyright: ignore[reportArgumentType, reportCallIssue]
    return undo


def _put_back(undo: list[Cut]) -> Literal[False]:
    _place(undo[::-1])
    return False


def _in_one_order(one: Value, other: Value) -> bool:
    """Whether members probably have the same order on both sides."""
    if type(one) is list and type(other) is list and one and other:
        one, other = one[0], other[0]
    return type(one) is not dict or type(other) is not dict or next(iter(one), "") == next(iter(other), "")
