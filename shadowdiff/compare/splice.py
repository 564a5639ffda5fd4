"""Read v1's text as v2's with other values in a few places, where it is that, without parsing it.

In: both texts, v2's value, places that are likely to differ (those that rules name, as clocks and ids).
Out: v1's value, which shares all else with v2's; or nothing, where the text must be parsed.
Holds: exact. v2's text is what orjson writes, but for blanks, so a value's own text stands in it where the value does;
one that stands in it only once stands there. Around these places v1's text is the same, byte for byte, and in them it
has scalars that orjson would write so. What parsing finds in such a text is what is put together here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import orjson

from shadowdiff.compare.members import member_at, with_member

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare.values import Value

Names = tuple[str, ...]

_SCALARS: Final = frozenset((str, int, float, bool, type(None)))
_SCALAR: Final = re.compile(rb'"[^"\\]*"|[^\s",:\[\]{}]+')


def spliced(primary: bytes, candidate: bytes, other: Value, places: Sequence[Names]) -> Value | None:
    """Return v1's value, or None where its text has to be parsed.

    candidate: v2's text, which is what orjson writes of `other` but for blanks.
    """
    changes: list[tuple[Names, bytes]] = []
    at = end = 0
    for begin, told, names in _found(candidate, other, places):
        between = candidate[end:begin]
        if not primary.startswith(between, at):
            return None
        scalar = _SCALAR.match(primary, at + len(between))
        if scalar is None:
            return None
        at, end = scalar.end(), begin + len(told)
        if scalar[0] != told:
            changes.append((names, scalar[0]))
    return _changed(other, changes) if changes and primary[at:] == candidate[end:] else None


def _found(candidate: bytes, other: Value, places: Sequence[Names]) -> list[tuple[int, bytes, Names]]:
    """Return where in v2's text the values of these places stand, those that can be told from others, in order."""
    found: list[tuple[int, bytes, Names]] = []
    for names in places:
        value = member_at(other, names)
        if type(value) in _SCALARS:
            told = orjson.dumps(value)
            begin = candidate.index(told)
            if candidate.find(told, begin + 1) < 0:
                found.append((begin, told, names))
    found.sort()
    return found


def _changed(other: Value, changes: Sequence[tuple[Names, bytes]]) -> Value | None:
    """Return a value with others in these places; None where one is not what orjson would write, or equal by `==`."""
    one = other
    for names, text in changes:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if orjson.dumps(value) != text or value == member_at(other, names):
            return None
        one = with_member(one, names, value)
    return one
