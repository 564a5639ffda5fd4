"""Read what differs between two JSON texts without parsing them, where that is in a few places that rules name.

In: both texts, places where scalars are likely to differ (clocks and ids: those that rules name, as ways of names).
Out: both values, of which only these places are made; or nothing, where the texts must be parsed.
Holds: exact. v2's text is sound JSON that nests no deeper than it may, of no object on the way to a place is a member
doubled, and each member stands where it was found, byte for byte. Around these places v1's text is v2's, and where
they differ both have scalars that orjson would write so. Whatever else a parser finds in one text, it finds in both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from shadowdiff.compare.depth import is_shallow
from shadowdiff.compare.members import with_member

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.compare.values import Value

Names = tuple[str, ...]
Span = tuple[int, int]

_SCALAR: Final = re.compile(rb'"[^"\\]*"|true|false|null|-?(?:[0-9]{1,20}|[0-9.]{1,16})(?![0-9.eE])')
"""A string without escapes, a word, an integer, or a number so short and plain that every tier writes it alike."""
_BLANKS: Final = b" \t\n\r"
_MOST_MEMBERS: Final = 64
"""Finding each member of a larger object takes longer than parsing it."""


def skimmed(primary: bytes, candidate: bytes, places: Sequence[Names]) -> tuple[Value, Value] | None:
    """Return of both values the places that differ, or None where the texts have to be parsed."""
    if not primary.startswith(candidate[: candidate.find(b":")]):  # members of another order, or other blanks
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
        told = candidate[begin:stop]
        if scalar[0] != told:
            changes.append((names, scalar[0], told))
    if not changes or primary[at:] != candidate[end:] or not (_is_utf8(candidate) and is_shallow(candidate)):
        return None
    return _values(changes)


def _found(text: bytes, places: Iterable[Names]) -> list[tuple[Span, Names]]:
    """Return where in a text the values of these places stand, those that are there and may be told."""
    found: list[tuple[Span, Names]] = []
    known: dict[Names, dict[str, Span]] = {}
    whole = text.rstrip(_BLANKS)
    for names in places:
        base, below = 0, whole
        for step in range(len(names)):
            way = names[:step]
            spans = known.get(way)
            if spans is None:
                spans = known[way] = _spans(below)
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
    """Return where in an object's text the value of each member stands; empty where that cannot be told.

    It can where the members make up the text, with what writers of compact JSON put between them, or of spaced JSON on
    one line: then none is doubled, and no name is written otherwise.
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


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _is_utf8(text: bytes) -> bool:
    """Whether a text is UTF-8, which msgspec does not ask of strings that it leaves as they are."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _values(changes: Iterable[tuple[Names, bytes, bytes]]) -> tuple[Value, Value] | None:
    """Return both values; None where orjson would write one otherwise, or the two are equal by `==`, as 1 and 1.0."""
    one: Value = {}
    other: Value = {}
    for names, *texts in changes:
        try:
            value, against = (orjson.loads(text) for text in texts)
        except orjson.JSONDecodeError:
            return None
        if [orjson.dumps(value), orjson.dumps(against)] != texts or value == against:
            return None
        one, other = with_member(one, names, value), with_member(other, names, against)
    return one, other
