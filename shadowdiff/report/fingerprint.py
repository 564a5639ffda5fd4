"""Group mismatches by what differs: the set of (route, path pattern, kind) over the differences that no rule covers.

In: a pair and its comparison.  Out: its fingerprint, and the writes that count it.
Holds: the same set gives the same id in every process and at all times. Bounded per target: what is new beyond the
bound counts for `_other`. Times are whole seconds, so that the mismatches of a batch share their writes.
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
"""Places told of one fingerprint; its id is made of all of them."""
PLACE_CHARS: Final = 300
RANKS: Final = {Severity.ADDITIVE: 1, Severity.VALUE: 2, Severity.BREAKING: 3}
RANK: Final = 10**13
"""A score by severity is rank * RANK + time of the last mismatch, so that equals stand in order of time."""
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
MINUTES_LIVE_S: Final = 2 * 3600
HOURS_LIVE_S: Final = 35 * 86_400
_SECOND_MS: Final = 1000
_KEPT: Final = 4096


class Place(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Where, and how: a path pattern such as `$['items'][*]['price']`, and a kind."""

    path: str
    kind: str


class Print(msgspec.Struct, frozen=True, kw_only=True):
    """What identifies a group of mismatches: its id, and the first of its places in order."""

    id: str
    route: str
    places: tuple[Place, ...]
    more: int = 0


class Described(msgspec.Struct, frozen=True, array_like=True):
    """What the store holds of a fingerprint that never changes."""

    route: str
    places: tuple[Place, ...]
    more: int = 0


class FingerprintSettings(msgspec.Struct, frozen=True, kw_only=True):
    """most: fingerprints per target (and shard)."""

    most: int = 1000


def key_of(what: str, target: str) -> str:
    """Return the key of one part of a target's fingerprints."""
    return f"fingerprints:{what}:{target}"


def hour_key(target: str, at_ms: int) -> str:
    """Return the key of the counts of the hour at `at_ms`."""
    return key_of(f"hour:{at_ms // HOUR_MS}", target)


def minute_key(target: str, at_ms: int) -> str:
    """Return the key of the counts of the minute at `at_ms`."""
    return key_of(f"minute:{at_ms // MINUTE_MS}", target)


def print_of(pair: Pair, comparison: Comparison) -> Print | None:
    """Return the fingerprint of a mismatch; None for any other result."""
    if comparison.result is not Result.MISMATCH:
        return None
    places = frozenset([(found.pattern, found.kind.value) for found in comparison.differences if found.rule is None])
    return _print(pair.target, pair.route, places)


def severity_of(comparison: Comparison) -> Severity:
    """Return the worst severity of the differences that count."""
    return max((found.severity for found in comparison.differences if found.rule is None), key=_rank, default=_WORST)


_WORST: Final = Severity.BREAKING


def _rank(severity: Severity) -> int:
    return RANKS[severity]


@lru_cache(maxsize=_KEPT)
def _print(target: str, route: str, places: frozenset[tuple[str, str]]) -> Print:
    inorder = sorted(places)
    canonical = msgspec.json.encode((target, route, inorder))
    return Print(
        id=hashlib.blake2b(canonical, digest_size=ID_CHARS // 2).hexdigest(),
        route=route,
        places=tuple(Place(path[:PLACE_CHARS], kind) for path, kind in inorder[:MOST_PLACES]),
        more=len(inorder[MOST_PLACES:]),
    )


class FingerprintWrites:
    """Makes the writes that count mismatches; those of one fingerprint and second are made once."""

    def __init__(self, settings: FingerprintSettings) -> None:
        self._most = settings.most
        self._second = 0
        self._made: dict[tuple[str, str, Severity], tuple[Write, ...]] = {}
        self._minute = 0
        self._described: set[str] = set()

    def writes(self, target: str, found: Print, severity: Severity, at_ms: int) -> tuple[Write, ...]:
        """Return the writes that count one mismatch."""
        second = at_ms // _SECOND_MS
        if second != self._second:
            self._second = second
            self._made.clear()
        name = (target, found.id, severity)
        known = self._made.get(name)
        if known is None:
            known = self._made[name] = tuple(self._write(target, found, severity, second * _SECOND_MS))
        return known

    def _write(self, target: str, found: Print, severity: Severity, at_ms: int) -> Iterable[Write]:
        one, most = found.id, self._most
        hour, minute = hour_key(target, at_ms), minute_key(target, at_ms)
        if self._is_undescribed(one, at_ms):
            told = msgspec.msgpack.encode(Described(found.route, found.places, found.more))
            yield Describe(key_of("what", target), one, told, most)
        yield Score(key_of("first", target), one, at_ms, "first", most)
        yield Score(key_of("last", target), one, at_ms, "greatest", most)
        yield Score(key_of("worst", target), one, RANKS[severity] * RANK + at_ms, "greatest", most)
        yield Score(key_of("since", target), one, at_ms, "first", 2 * most)
        yield Score(key_of("count", target), one, 1, "add", most)
        yield Incr(minute, one, 1, most)
        yield Expire(minute, MINUTES_LIVE_S)
        yield Incr(hour, one, 1, most)
        yield Expire(hour, HOURS_LIVE_S)

    def _is_undescribed(self, one: str, at_ms: int) -> bool:
        """Whether to describe it: once a minute, since the store may have forgotten it meanwhile."""
        minute = at_ms // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._described.clear()
        if one in self._described:
            return False
        self._described.add(one)
        return True
