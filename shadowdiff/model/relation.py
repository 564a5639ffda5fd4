"""How v2's value follows from v1's value at one place: the relations of a change.

The comparison decides them for one pair, from both whole values. Several can hold for the same two values, so they are
a bit mask. A group of pairs has the relations that hold in all of its pairs.
"""

from __future__ import annotations

from enum import IntFlag


class Relation(IntFlag):
    """A relation between two values; the first member is the most specific. No bit means that no relation holds.

    REPLACED_BY_ERROR: v2's value is a text about an error. EMPTY: null, missing, empty and zero, one for another.
    GENERATED: both values have one generated form: id, token, hash, clock, duration, counter or pod name.
    CONSTANT: always holds for short values; its parameter is both values, so equal parameters prove one replacement.
    """

    REPLACED_BY_ERROR = 1 << 0
    OWN_ORIGIN = 1 << 1
    NUMBER_AS_STRING = 1 << 2
    INTEGER_AS_DECIMAL = 1 << 3
    SAME_INSTANT = 1 << 4
    TIME_SHIFTED = 1 << 5
    CASE = 1 << 6
    WHITE_SPACE = 1 << 7
    NORMALIZATION = 1 << 8
    ESCAPING = 1 << 9
    REORDERED = 1 << 10
    TRUNCATED = 1 << 11
    EMPTY = 1 << 12
    VERSION = 1 << 13
    ROUNDED = 1 << 14
    SCALED = 1 << 15
    OFFSET = 1 << 16
    PREFIX = 1 << 17
    SUFFIX = 1 << 18
    GENERATED = 1 << 19
    CONSTANT = 1 << 20


Parameters = tuple[tuple[int, str], ...]
"""At most two parameters of a change, each with its relation's bit: the factor, the offset, the added text, …"""
MOST_PARAMETERS = 2
PARAMETER_CHARS = 32
"""A longer parameter is stored as its keyed hash."""
