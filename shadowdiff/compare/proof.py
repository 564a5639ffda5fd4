"""Prove that what `==` called equal is alike in kind too.

In: equal values of parsing tier 1 or 2, or two values and the places in which they differ.  Out: yes or no.
Holds: Python calls `1`, `1.0` and `True` equal, but no writer spells two of them alike, so equal dumps prove equal
kinds. Where places differ, v1's value is put in each of them first, and taken out again unless all is proved: over
copies of what is equal, that saved a tenth of a comparison at 1.4 kB.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec
import orjson

from shadowdiff.compare.values import Value

Cut = tuple[dict[str, Value] | list[Value], str | int, Value]
"""A place in v2 that differs, as container and step, and v1's value for it."""

stand_in: Final = Decimal.number_class
"""A Decimal's stand-in, such as `+Normal`: its kind is all that is to be told, and no text equals a Decimal."""


def dump_of(value: Value) -> bytes:
    """Return a text that tells kinds apart among equal values."""
    try:
        return orjson.dumps(value, default=stand_in)
    except orjson.JSONEncodeError:  # an integer past 64 bits
        return _dump_huge(value)


def _dump_sorted(value: Value) -> bytes:
    try:
        return orjson.dumps(value, default=stand_in, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return _dump_huge(value)


_dump_huge: Final = msgspec.json.Encoder(order="sorted").encode


def alike_sorted(one: Value, other: Value) -> bool:
    """Whether equal values are alike in kind."""
    return _dump_sorted(one) == _dump_sorted(other)


def alike(one: Value, other: Value, dump: bytes = b"") -> bool:
    """Whether equal values are alike in kind: where members stand in one order, a dump need not sort.

    dump: of v1's value, where it is at hand.
    """
    if _in_one_order(one, other) and (dump or dump_of(one)) == dump_of(other):
        return True
    return alike_sorted(one, other)


def alike_but(cuts: list[Cut], one: Value, other: Value, dump: bytes = b"") -> bool:
    """Whether two values are alike in kind but for the places that differ; both are as they were unless they are."""
    undo = _place(cuts)
    if alike(one, other, dump):
        return True
    undo.reverse()
    _place(undo)
    return False


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
