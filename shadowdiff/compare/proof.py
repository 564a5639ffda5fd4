"""Prove that what `==` called equal is alike in kind too.

In: equal values of parsing tier 1 or 2, or two values and the places in which they differ.  Out: yes or no.
Holds: Python calls `1`, `1.0` and `True` equal, but no writer spells two of them alike, so equal dumps prove equal
kinds. Where places differ, v1's value is put in each of them first, and taken out again unless all is proved: over
copies of what is equal, that saved a tenth of a comparison at 1.4 kB.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from shadowdiff.compare.values import Value

if TYPE_CHECKING:
    from shadowdiff.compare.exact import Parsed

Cut = tuple[dict[str, Value] | list[Value], str | int, Value]
"""A place in v2 that differs, as container and step, and v1's value for it."""

stand_in: Final = Decimal.is_zero
"""A Decimal's stand-in, since its kind is all that is to be told: `true` for 0, which equals `false`, and `false` for
1, which equals `true`. No integer is written so, and it takes a third of the time of any text."""


def dump_of(value: Value) -> bytes:
    """Return a text that tells kinds apart among equal values."""
    try:
        return orjson.dumps(value, default=stand_in)
    except orjson.JSONEncodeError:  # an integer past 64 bits
        return _dump_huge(value)


_SORTED: Final = orjson.OPT_SORT_KEYS
_dump_huge: Final = msgspec.json.Encoder(order="sorted").encode


def alike_sorted(one: Value, other: Value) -> bool:
    """Whether equal values are alike in kind."""
    try:
        return orjson.dumps(one, stand_in, _SORTED) == orjson.dumps(other, stand_in, _SORTED)
    except orjson.JSONEncodeError:  # an integer past 64 bits
        return _dump_huge(one) == _dump_huge(other)


def alike(one: Value, other: Value, dump: bytes = b"") -> bool:
    """Whether equal values are alike in kind: where members stand in one order, a dump need not sort.

    dump: of v1's value, where it is at hand.
    """
    if _in_one_order(one, other) and (dump or dump_of(one)) == dump_of(other):
        return True
    return alike_sorted(one, other)


def alike_but(cuts: list[Cut], one: Value, other: Value) -> bool:
    """Whether two values are alike in kind but for the places that differ; both are as they were unless they are."""
    undo = _place(cuts)
    if alike(one, other):
        return True
    undo.reverse()
    _place(undo)
    return False


def whole_alike_but(cuts: list[Cut], parsed: Parsed) -> bool:
    """Whether both values as they were parsed are alike in kind but for the places that differ.

    Where it was hoped that the primary's text is canonical, v2's value with v1's in these places writes it.
    """
    undo = _place(cuts)
    if not parsed.hoped:
        proved = alike(parsed.primary, parsed.candidate, parsed.dump)
    elif writes(parsed.candidate, parsed.dump):
        return True
    else:
        proved = is_settled(parsed) and alike_sorted(parsed.primary, parsed.candidate)
    if not proved:
        undo.reverse()
        _place(undo)
    return proved


def is_settled(parsed: Parsed) -> bool:
    """Whether the tier is known to be exact for both texts."""
    return not parsed.hoped or writes(parsed.primary, parsed.dump)


def writes(value: Value, text: bytes) -> bool:
    """Whether a text is, but for blanks, what orjson writes for the value."""
    try:
        return is_canonical(text, orjson.dumps(value))
    except orjson.JSONEncodeError:  # too deep
        return False


def is_canonical(text: bytes, dump: bytes) -> bool:
    """Whether a text is, but for blanks, byte for byte what orjson wrote."""
    return dump == text or (
        b": " in text[:_HEAD_BYTES] and dump.translate(None, _BLANKS) == text.translate(None, _BLANKS)
    )


_BLANKS: Final = b" \t\n\r"
_HEAD_BYTES: Final = 64
"""Where a text has no blank at its start it hardly has one later, and the trouble of dropping them is saved."""


def _place(cuts: list[Cut]) -> list[Cut]:
    """Put v1's value in each place that differs; return v2's."""
    undo: list[Cut] = []
    for container, step, value in cuts:
        undo.append((container, step, container[step]))  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownArgumentType]
        container[step] = value  # pyright: ignore[reportArgumentType, reportCallIssue]
    return undo


def _in_one_order(one: Value, other: Value) -> bool:
    """Whether members seem to stand in the same order on both sides."""
    if type(one) is list and type(other) is list and one and other:
        one, other = one[0], other[0]
    return type(one) is not dict or type(other) is not dict or next(iter(one), "") == next(iter(other), "")
