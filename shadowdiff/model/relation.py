"""How v2's value follows from v1's value at one place: the relations of a change.

The comparison decides them for one pair, from both whole values. Several can hold for the same two values, so they are
a bit mask. A group of pairs has the relations that hold in all of its pairs.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final


class Relation(IntFlag):
    """A relation between two values; the first member is the most specific. No bit means that no relation holds.

    Each line has the meaning and, after a colon, the parameter. `→` is between what v1 and v2 have, `+` means that v2
    adds something, and `-` that v2 removes it.

    OWN_ORIGIN: v2's value has v2's own authority where v1's value has the authority that the user called.
    REPLACED_BY_ERROR: v2's value is an error, and v1's is not: the status or failure of v2, if it is a status.
    SAME_INSTANT: one time in another form: `zone`, `precision`, `epoch` or `format`.
    INTEGER_AS_DECIMAL: one number, once without and once with a fraction: `integer → decimal`.
    NUMBER_AS_STRING: one number or boolean as another type: `number → string`.
    CASE, WHITE_SPACE: one text, except for case or white space: for case `upper` or `lower`, if all of v2's text is.
    NORMALIZATION: one text in another Unicode normalization: the form of v2's text.
    ESCAPING: one text, once escaped: `plain → html`, `plain → percent`, `plain → backslash` or the reverse.
    REORDERED: the same elements or words in another order.
    EMPTY: a side is null, missing, empty or zero: `null → missing`, `value → empty`.
    VERSION: another version number, all else equal: both versions.
    ROUNDED: one side has the other side's number with fewer decimals: how many, as `any → 2`.
    SCALED: v2's number is a usual multiple or part of v1's: the factor, `100` or `1/60`.
    TIME_SHIFTED: another time: how much later v2's is, in seconds.
    OFFSET: another number: how much higher v2's is.
    PREFIX, SUFFIX: one text is the other's end or start: the added or removed text.
    TRUNCATED: v2's text is the start of v1's text: the number of characters.
    GENERATED: both values have one generated form: `uuid`, `token`, `hash`, `clock`, `duration`, `counter`, `pod`.
    RETYPED: another JSON type: both types.
    CONSTANT: both values are short: both values, so equal parameters prove one replacement.
    """

    OWN_ORIGIN = 1 << 0
    REPLACED_BY_ERROR = 1 << 1
    SAME_INSTANT = 1 << 2
    INTEGER_AS_DECIMAL = 1 << 3
    NUMBER_AS_STRING = 1 << 4
    CASE = 1 << 5
    WHITE_SPACE = 1 << 6
    NORMALIZATION = 1 << 7
    ESCAPING = 1 << 8
    REORDERED = 1 << 9
    EMPTY = 1 << 10
    VERSION = 1 << 11
    ROUNDED = 1 << 12
    SCALED = 1 << 13
    TIME_SHIFTED = 1 << 14
    OFFSET = 1 << 15
    PREFIX = 1 << 16
    SUFFIX = 1 << 17
    TRUNCATED = 1 << 18
    GENERATED = 1 << 19
    RETYPED = 1 << 20
    CONSTANT = 1 << 21


Parameters = tuple[tuple[int, str], ...]
"""At most two parameters of a change, each with its relation's bit: the factor, the offset, the added text, …"""
MOST_PARAMETERS: Final = 2
PARAMETER_CHARS: Final = 32
"""A parameter has at most this many characters on each side of an arrow; a longer one is left out or hashed."""
ARROW: Final = " → "
NO_RELATION: Final = Relation(0)
_ALL: Final = tuple(Relation)


def relation_names(mask: int) -> list[str]:
    """Return the names of the relations in a mask, the most specific first, such as `own_origin`."""
    return [str(relation.name).lower() for relation in _ALL if mask & relation]
