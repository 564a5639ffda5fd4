"""Find the differences between two JSON texts without parsing, if only scalars differ and rules name their places.

Typical examples of these places are times and ids. The paths of these places contain only names. The result contains
only these places, and is exact: v2's text is valid JSON that does not nest too deeply, no object on the path to a place
has a duplicate member, and the text of each member is at a known position. Outside these places v1's text equals v2's
text. At these places both have scalars as orjson writes them. So a parser would find the same values everywhere else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from shadowdiff.compare.exact import is_shallow
from shadowdiff.rules.json_values import with_member

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.rules.json_values import Value

Names = tuple[str, ...]
Span = tuple[int, int]
_SCALAR: Final = re.compile(rb'"[^"\\]*"|true|false|null|-?(?:[0-9]{1,20}|[0-9.]{1,16})(?![0-9.eE])')
"""A string without escapes, a word, an integer, or a number so short that every tier reads it alike."""
_BLANKS: Final = b" \t\n\r"
_MOST_MEMBERS: Final = 64
"""The maximum size of an object. In a larger object, finding each member takes longer than parsing."""
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def skimmed(primary: bytes, candidate: bytes, places: Sequence[Names]) -> tuple[Value, Value] | None:
    """Return the differing places of both values; None if both texts must be parsed."""
    if not primary.startswith(candidate[: candidate.find(b":")]):  # different member order or whitespace
        return None
    changes: list[tuple[Names, bytes, bytes]] = []
    at = end = 0
    for (begin, stop), names in sorted(_found(candidate, places)):
        between = candidate[end:begin]
        if not primary.startswith(between, at):
            return None
        scalar = _SCALAR.match(primary, at + len(between))
        if scalar is None:
            return None
        at, end = scalar.end(), stop
        value = candidate[begin:stop]
        if scalar[0] != value:
            changes.append((names, scalar[0], value))
    if not changes or primary[at:] != candidate[end:] or not is_shallow(candidate):
        return None
    try:
        candidate.decode()  # msgspec does not validate UTF-8 in strings that it does not parse
        return _values(changes)
    except ValueError:
        return None


def _found(text: bytes, places: Iterable[Names]) -> list[tuple[Span, Names]]:
    """Return the positions of these places' values in a text, if they exist and can be located."""
    found: list[tuple[Span, Names]] = []
    known: dict[Names, dict[str, Span]] = {}
    whole = text.rstrip(_BLANKS)
    for names in places:
        base, below = 0, whole
        for step in range(len(names)):
            above = names[:step]
            spans = known.get(above)
            if spans is None:
                spans = known[above] = _spans(below)
            span = spans.get(names[step])
            if span is None:
                break
            begin, stop = base + span[0], base + span[1]
            if step + 1 < len(names):
                base, below = begin, text[begin:stop]
            elif _SCALAR.fullmatch(text, begin, stop):
                found.append(((begin, stop), names))
    return found


def _spans(text: bytes) -> dict[str, Span]:
    """Return the position of each member's value in an object's text; empty if it is not certain.

    It is certain if the members make up the whole text, with the separators of compact JSON or of spaced JSON on one
    line. In this case no member is duplicated, and no name contains an escape.
    """
    try:
        members = _members(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if len(members) > _MOST_MEMBERS:
        return {}
    names = [b'"%b"' % name.encode() for name in members]
    colon, comma = (b": ", b", ") if names and text.startswith(b": ", len(names[0]) + 1) else (b":", b",")
    values = list(members.values())
    if text != b"{%b}" % comma.join([b"%b%b%b" % (name, colon, value) for name, value in zip(names, values)]):  # noqa: B905
        return {}
    spans: dict[str, Span] = {}
    stop = 1 - len(comma)
    for name, quoted, value in zip(members, names, values):  # noqa: B905  # all are of one object
        begin = stop + len(comma) + len(quoted) + len(colon)
        stop = begin + len(value)
        spans[name] = begin, stop
    return spans


def _values(changes: Iterable[tuple[Names, bytes, bytes]]) -> tuple[Value, Value] | None:
    """Return both values; None if orjson would write one differently, or if they are equal under `==` (1 and 1.0).

    Raises: ValueError if orjson cannot read one of them.
    """
    one: Value = {}
    other: Value = {}
    for names, *texts in changes:
        value, against = (orjson.loads(text) for text in texts)
        if [orjson.dumps(value), orjson.dumps(against)] != texts or value == against:
            return None
        one, other = with_member(one, names, value), with_member(other, names, against)
    return one, other
