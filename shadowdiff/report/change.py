"""A change: one route, place, kind of difference and mask of relations; and the set of changes of a mismatch.

Ids are hashes, so all processes agree on them without coordination. A set lists at most 32 changes, and its field names
them all, so a reader can sum the sets that contain a change. Long places end in a hash, which limits every field.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import msgspec

from shadowdiff.model import Comparison, Pair, Result, Severity
from shadowdiff.report.fingerprint import RANKS

CHANGE_ID_CHARS: Final = 12
MOST_CHANGES: Final = 32
"""The number of changes in one set. A set with more has the mark `MORE` at its end."""
MORE: Final = "+"
PLACE_CHARS: Final = 300
_KEPT_CHARS: Final = PLACE_CHARS - CHANGE_ID_CHARS - 1


class Change(msgspec.Struct, frozen=True, order=True, array_like=True):
    """What is stored of one difference: route, place, kind and the bits of `Relation` that hold for both values."""

    route: str
    place: str
    kind: str
    mask: int = 0

    @property
    def id(self) -> str:
        """The id of this change."""
        return change_id(self.route, self.place, self.kind, self.mask)

    @property
    def field(self) -> str:
        """The hash field that counts this change, and describes it."""
        return msgspec.json.encode(self).decode()


class ChangeSet(msgspec.Struct, frozen=True):
    """The changes of one mismatch, in order.

    field: the ids of all listed changes, followed by `MORE` if there are others; it counts this set.
    severities: the severity of each change.
    """

    field: str
    changes: tuple[Change, ...]
    severities: tuple[Severity, ...]

    @property
    def has_more(self) -> bool:
        """Whether the pair has changes that are not listed."""
        return self.field.endswith(MORE)

    @property
    def id(self) -> str:
        """The id of this set, for counts over time."""
        return set_id(self.field)


@lru_cache(maxsize=8192)
def change_id(route: str, place: str, kind: str, mask: int) -> str:
    """Return the id of a change: 12 hexadecimal digits. `place` and `route` are already limited by `bounded_name`."""
    return _digest(msgspec.json.encode((route, place, kind, mask)))


def set_id(field: str) -> str:
    """Return the id of a set of changes: 12 hexadecimal digits."""
    return _digest(field.encode())


def bounded_name(text: str) -> str:
    """Return a route or a place of at most `PLACE_CHARS` characters; a longer one ends in the hash of the whole."""
    if len(text) <= PLACE_CHARS:
        return text
    return f"{text[:_KEPT_CHARS]}~{_digest(text.encode('utf-8', 'surrogatepass'))}"


def ids_of(field: str) -> tuple[tuple[str, ...], bool]:
    """Return the ids of a set's changes by its field, and whether the set has unlisted changes."""
    ids = field.removesuffix(MORE)
    return tuple(ids[at : at + CHANGE_ID_CHARS] for at in range(0, len(ids), CHANGE_ID_CHARS)), len(ids) < len(field)


def changes_of(pair: Pair, comparison: Comparison, most_differences: int = 100) -> ChangeSet | None:
    """Return the changes of a mismatch: its differences that no rule covers; None for other results.

    most_differences: how many differences that count a comparison lists.
    """
    if comparison.result is not Result.MISMATCH:
        return None
    found = [
        (one.pattern, one.kind.value, one.relations, one.severity) for one in comparison.differences if one.rule is None
    ]
    if not found:
        return None
    return _change_set(pair.route, frozenset(found), comparison.unlisted > 0 and len(found) >= most_differences)


@lru_cache(maxsize=4096)
def _change_set(
    route: str,
    found: frozenset[tuple[str, str, int, Severity]],
    has_unlisted: bool,  # noqa: FBT001 - part of a cache's key
) -> ChangeSet:
    route = bounded_name(route)
    severities: dict[Change, Severity] = {}
    for place, kind, mask, severity in found:
        change = Change(route, bounded_name(place), kind, mask)
        severities[change] = max(severity, severities.get(change, severity), key=RANKS.__getitem__)
    listed = sorted(severities)[:MOST_CHANGES]
    more = MORE if has_unlisted or len(severities) > MOST_CHANGES else ""
    field = "".join(sorted(change.id for change in listed)) + more
    return ChangeSet(field, tuple(listed), tuple(severities[one] for one in listed))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=CHANGE_ID_CHARS // 2).hexdigest()
