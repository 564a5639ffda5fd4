"""Tell the words of a path from the values in it.

In: a path's segments, as they come by.  Out: the same with values named: `{id}`, `{uuid}`, `{date}`, `{email}`,
`{hex}`, `{token}` by their shape, and `{name}` where a place takes many words that seldom come again.
Holds: pure and bounded. A place turns to `{name}` once and never back; words that had come again by then (`me`,
`search`) stay words. What one process finds it offers as a `Place`, and takes those of others: the first one
stands, so that all name alike.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_SEGMENTS: Final = 12
MAX_SEGMENT_CHARS: Final = 48
MIN_TOKEN_DIGITS: Final = 2
MOST_WORDS: Final = 32
"""Words at one place from which on it may take values, where at least half of them seldom came again."""
MOST_WORDS_EVER: Final = 128
"""Words at one place that are taken for values, however often they come."""
OFTEN: Final = 3
"""A word that came so often by then stays a word."""
KEPT_WORDS: Final = 32
MAX_PLACES: Final = 1024
"""Places watched at once; what is deeper or later is named by its shape alone."""
NAME: Final = "{name}"

_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2}(?:T[0-9:.%A-Za-z+-]*)?)?")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:[.,][0-9]+)*")
_SHAPES: Final = ((_UUID, "{uuid}"), (_DATE, "{date}"), (_NUMBER, "{id}"))
_HEX: Final = re.compile(r"(?:0x)?[0-9a-f]{8,}", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[0-9A-Za-z_.~=-]{16,}")
_EMAIL: Final = re.compile(r"[^@/]+(?:@|%40)[^@/]+\.[^@/]+")
_KEY: Final = re.compile(r"(?:A[A-Z]{3}[0-9A-Z]{16}|(?:sk|rk|pk)_(?:live|test)_\w+|[0-9A-Za-z_]{40,})")
"""Keys of the usual services; longer ones are tokens for their length."""
_DIGIT: Final = re.compile(r"[0-9]")


class Place(msgspec.Struct, frozen=True):
    """A place that takes values: what stands before it, and the words that stay words there."""

    before: str
    words: tuple[str, ...] = ()


def shape(segment: str) -> str:
    """Return what a segment looks like: the name of a kind of value, or itself."""
    for pattern, name in _SHAPES:
        if pattern.fullmatch(segment):
            return name
    if _EMAIL.fullmatch(segment):
        return "{email}"
    if _KEY.fullmatch(segment):
        return "{token}"
    digits = len(_DIGIT.findall(segment[:MAX_SEGMENT_CHARS]))
    if digits and _HEX.fullmatch(segment):
        return "{hex}"
    if len(segment) > MAX_SEGMENT_CHARS or (digits >= MIN_TOKEN_DIGITS and _TOKEN.fullmatch(segment)):
        return "{token}"
    return segment


class Places:
    """What came at each place, and which places take values."""

    def __init__(self) -> None:
        self._words: dict[str, dict[str, int]] = {}
        self._values: dict[str, frozenset[str]] = {}
        self.found: list[Place] = []

    def name(self, segments: Sequence[str]) -> tuple[str, bool]:
        """Return the named path, and whether every word of it came often enough to be remembered."""
        before, often = "", True
        for index, segment in enumerate(segments[1 : MAX_SEGMENTS + 1]):
            named = shape(segment) if segment else ""
            if named is segment and segment:
                often &= self._saw(before, segment) >= OFTEN
                words = self._values.get(before)
                named = segment if words is None or segment in words else NAME
            before = f"{before}/{named}"
            if index == MAX_SEGMENTS - 1 and len(segments) > MAX_SEGMENTS + 1:
                before += "/{rest}"
        return f"{segments[0]}{before}" or "/", often

    def named_now(self, path: str) -> str:
        """Return what a name given earlier would be by what is known now; nothing is counted."""
        before = ""
        head, *rest = path.split("/")
        for segment in rest:
            before = f"{before}/{self._named(before, segment) if segment and segment[0] != '{' else segment}"
        return head + before

    def take(self, places: Iterable[Place]) -> bool:
        """Take what is known of places; return whether a name changes by it."""
        changed = False
        for place in places:
            words = frozenset(place.words)
            if self._values.get(place.before) != words and (place.before in self._values or self._has_room):
                changed = True
                self._settle(place.before, words)
        return changed

    def places(self) -> list[Place]:
        """Return every place that takes values."""
        return [Place(before, tuple(sorted(words))) for before, words in self._values.items()]

    @property
    def held(self) -> int:
        """How many words are remembered, over all places."""
        return sum(map(len, self._words.values())) + sum(map(len, self._values.values()))

    @property
    def _has_room(self) -> bool:
        return len(self._values) < MAX_PLACES

    def _named(self, before: str, segment: str) -> str:
        shaped = shape(segment)
        words = self._values.get(before)
        return shaped if words is None or shaped is not segment or segment in words else NAME

    def _saw(self, before: str, word: str) -> int:
        """Count a word at its place; return how often it came, up to `OFTEN`."""
        if before in self._values:
            return OFTEN
        words = self._words.get(before)
        if words is None:
            if len(self._words) >= MAX_PLACES or not self._has_room:
                return OFTEN
            words = self._words[before] = {}
        times = words[word] = min(OFTEN, words.get(word, 0) + 1)
        if len(words) > MOST_WORDS and times == 1:
            self._look(before, words)
        return times

    def _look(self, before: str, words: dict[str, int]) -> None:
        """Decide whether a place takes values."""
        kept = [word for word, times in words.items() if times >= OFTEN]
        if 2 * len(kept) <= len(words) or len(words) > MOST_WORDS_EVER:
            place = Place(before, tuple(sorted(kept[:KEPT_WORDS])))
            self.found.append(place)
            self._settle(before, frozenset(place.words))

    def _settle(self, before: str, words: frozenset[str]) -> None:
        self._values[before] = words
        self._words.pop(before, None)
        for place in [p for p in self._words if p.startswith(f"{before}/")]:
            if place[len(before) + 1 :].partition("/")[0] not in words:
                del self._words[place]
