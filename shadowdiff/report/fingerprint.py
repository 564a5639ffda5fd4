"""Group mismatches by their differences: the set of (route, path pattern, kind) of all differences that no rule covers.

The same set has the same id in every process. Beyond the limit of a target, new fingerprints count as `_other`. Times
are whole seconds, so that the mismatches of a batch share their writes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Comparison, Describe, Expire, Incr, Pair, Result, Score, Severity, Write

if TYPE_CHECKING:
    from collections.abc import Iterable

ID_CHARS: Final = 12
MOST_PLACES: Final = 32
"""Places that are listed for one fingerprint; its id is a hash of all."""
PLACE_CHARS: Final = 300
RANKS: Final = {Severity.ADDITIVE: 1, Severity.VALUE: 2, Severity.BREAKING: 3}
RANK: Final = 10**13
"""A score by severity is rank * RANK + time of the last mismatch, so that equal severities are ordered by time."""
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
MINUTES_LIVE_S: Final = 2 * 3600
HOURS_LIVE_S: Final = 35 * 86_400


class Place(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A path pattern such as `$['items'][*]['price']`, and a kind of difference."""

    path: str
    kind: str


class Described(msgspec.Struct, frozen=True, array_like=True):
    """The stored data of a fingerprint, which never changes; `places` has the first of the sorted places."""

    route: str
    places: tuple[Place, ...]
    more: int = 0


class Print(msgspec.Struct, frozen=True):
    """The identity of a group of mismatches."""

    id: str
    what: Described


def key_of(what: str, target: str) -> str:
    """Return the key of one part of the data of a target's fingerprints."""
    return f"fingerprints:{what}:{target}"


def bucket_key(target: str, step_ms: int, at_ms: int) -> str:
    """Return the key of the counts for the minute or hour at `at_ms`."""
    return key_of(f"{'minute' if step_ms == MINUTE_MS else 'hour'}:{at_ms // step_ms}", target)


def print_of(pair: Pair, comparison: Comparison) -> Print | None:
    """Return the fingerprint of a mismatch; None for other results."""
    if comparison.result is not Result.MISMATCH:
        return None
    places = frozenset([(found.pattern, found.kind.value) for found in comparison.differences if found.rule is None])
    return _print(pair.target, pair.route, places)


def fingerprint_id(target: str, route: str, places: Iterable[tuple[str, str]]) -> str:
    """Return the id of the fingerprint with these places: path patterns and kinds."""
    return _print(target, route, frozenset(places)).id


def severity_of(comparison: Comparison) -> Severity:
    """Return the highest severity of the differences that count."""
    counted = (found.severity for found in comparison.differences if found.rule is None)
    return max(counted, key=RANKS.__getitem__, default=Severity.BREAKING)


@lru_cache(maxsize=4096)
def _print(target: str, route: str, places: frozenset[tuple[str, str]]) -> Print:
    inorder = sorted(places)
    listed = tuple(Place(path[:PLACE_CHARS], kind) for path, kind in inorder[:MOST_PLACES])
    name = hashlib.blake2b(msgspec.json.encode((target, route, inorder)), digest_size=ID_CHARS // 2).hexdigest()
    return Print(name, Described(route, listed, len(inorder[MOST_PLACES:])))


class FingerprintWrites:
    """Creates the writes that count mismatches; equal fingerprints in one second use the same writes."""

    def __init__(self, most: int) -> None:
        """Take the limit of fingerprints for each target and shard."""
        self._most = most
        self._second = 0
        self._made: dict[tuple[str, str, Severity], tuple[Write, ...]] = {}
        self._minute = 0
        self._described: set[str] = set()

    def writes(self, target: str, found: Print, severity: Severity, at_ms: int) -> tuple[Write, ...]:
        """Return the writes that count one mismatch."""
        second = at_ms // 1000
        if second != self._second:
            self._second = second
            self._made.clear()
        name = (target, found.id, severity)
        known = self._made.get(name)
        if known is None:
            known = self._made[name] = tuple(self._write(target, found, severity, second * 1000))
        return known

    def _write(self, target: str, found: Print, severity: Severity, at_ms: int) -> Iterable[Write]:
        one, most = found.id, self._most
        if at_ms // MINUTE_MS != self._minute:  # every minute: the store might have lost it
            self._minute = at_ms // MINUTE_MS
            self._described.clear()
        if one not in self._described:
            self._described.add(one)
            yield Describe(key_of("what", target), one, msgspec.msgpack.encode(found.what), most)
        yield Score(key_of("first", target), one, at_ms, "first", most)
        yield Score(key_of("last", target), one, at_ms, "greatest", most)
        yield Score(key_of("worst", target), one, RANKS[severity] * RANK + at_ms, "greatest", most)
        yield Score(key_of("since", target), one, at_ms, "first", 2 * most)
        yield Score(key_of("count", target), one, 1, "add", most)
        for step_ms, lives_s in ((MINUTE_MS, MINUTES_LIVE_S), (HOUR_MS, HOURS_LIVE_S)):
            bucket = bucket_key(target, step_ms, at_ms)
            yield Incr(bucket, one, 1, most)
            yield Expire(bucket, lives_s)
