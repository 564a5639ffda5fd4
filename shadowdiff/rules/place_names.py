"""Learn the names of places that do not depend on one pair: containers with open-ended keys, and the lines of a route.

A container such as an object of user names gets one place for all of its keys, `[{name}]`, after many pairs have
differed at keys that are new each time; frequent keys stay names. A route has at most 50 places of lines; further lines
have the coarse place. Names are labels: they never change a result. Memory is limited. Processes exchange what they
learn.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.rules.place import ANY_NAME, COARSE, is_of_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MAX_LINES: Final = 50
"""The maximum number of places of text or HTML for each route."""
MIN_PAIRS: Final = 64
"""The number of pairs that must add a new key before a container is open-ended. A pair with many new keys counts once,
because a response of another kind has many new keys, too."""
OFTEN: Final = 3
"""The number of times that a key must differ to stay a name."""
KEPT_WORDS: Final = 32
MAX_WORDS: Final = 256
"""A container with more keys that are not rare is an object with many members."""
MAX_CONTAINERS: Final = 1024
MAX_SETTLED: Final = 8192
_STEP: Final = re.compile(r"\['(?:[^'\\]|\\.)*'\]|\[[^\]']*\]")
_INDEX: Final = "[*]"
_OPEN_STEP: Final = f"[{ANY_NAME}]"


class OpenContainer(msgspec.Struct, frozen=True):
    """The place of a container with open-ended keys, and the steps of the keys that stay names."""

    before: str
    words: tuple[str, ...] = ()


class LinePlace(msgspec.Struct, frozen=True):
    """A place of text or HTML that a route has."""

    route: str
    place: str


class _Keys(msgspec.Struct):
    """How often each key of a container differed, up to `OFTEN`, and how many pairs added a key.

    is_decided: whether further keys change nothing.
    """

    times: dict[str, int] = {}
    pairs: int = 0
    is_decided: bool = False


class PlaceNames:
    """The learned names of one target's places.  found, lines: what this process has learned since it was last sent."""

    def __init__(self) -> None:
        self._open: dict[str, frozenset[str]] = {}
        self._keys: dict[str, _Keys] = {}
        self._lines: dict[str, dict[str, None]] = {}
        self._settled: set[str] = set()
        self.found: list[OpenContainer] = []
        self.lines: list[LinePlace] = []

    def renamed(self, route: str, counted: Iterable[str], covered: Iterable[str] = ()) -> dict[str, str]:
        """Return the new names of a pair's places that have one, and learn from the places that count."""
        changed: dict[str, str] = {}
        added: set[str] = set()
        for place in counted:
            name = self._line(route, place, may_add=True) if is_of_text(place) else self._named(place, added)
            if name != place:
                changed[place] = name
        for place in covered:
            name = self._line(route, place, may_add=False) if is_of_text(place) else self.current(place)
            if name != place:
                changed[place] = name
        return changed

    def current(self, place: str) -> str:
        """Return the current name of a place, without learning from it."""
        if not self._open or not place.startswith("$"):
            return place
        before = "$"
        for step in _STEP.findall(place):
            before += self._step(before, step)
        return before

    def adopt(self, containers: Iterable[OpenContainer], lines: Mapping[str, Collection[str]]) -> None:
        """Use what all processes have learned. Lines that are not sent yet stay, if there is room."""
        known = {one.before: frozenset(one.words) for one in containers}
        if known != self._open:
            self._open = known
            self._settled.clear()
            self._keys = {before: keys for before, keys in self._keys.items() if self.current(before) == before}
        self._lines = {route: dict.fromkeys(sorted(places)[:MAX_LINES]) for route, places in lines.items()}
        for one in self.lines:
            self._add(one)

    def lines_in_use(self) -> list[LinePlace]:
        """Return all places of lines."""
        return [LinePlace(route, place) for route, places in self._lines.items() for place in places]

    def _line(self, route: str, place: str, *, may_add: bool) -> str:
        if place == COARSE or place in self._lines.get(route, ()):
            return place
        one = LinePlace(route, place)
        if not may_add or not self._add(one):
            return COARSE
        self.lines.append(one)
        return place

    def _add(self, one: LinePlace) -> bool:
        places = self._lines.setdefault(one.route, {})
        if len(places) < MAX_LINES:
            places[one.place] = None
        return one.place in places

    def _step(self, before: str, step: str) -> str:
        words = self._open.get(before)
        return step if words is None or step == _INDEX or step in words else _OPEN_STEP

    def _named(self, place: str, added: set[str]) -> str:
        """Return the name of a place.  added: the containers to which this pair has already added a key."""
        if place in self._settled or not place.startswith("$"):
            return place
        before, is_settled = "$", True
        for step in _STEP.findall(place):
            if step[1] == "'" and before not in self._open:
                is_settled &= self._count(before, step, added)
            before += self._step(before, step)
        if is_settled and before == place:
            if len(self._settled) >= MAX_SETTLED:
                self._settled.clear()
            self._settled.add(place)
        return before

    def _count(self, before: str, step: str, added: set[str]) -> bool:
        """Count a key of a container. Return whether another occurrence changes nothing."""
        keys = self._keys.get(before)
        if keys is None:
            if len(self._keys) >= MAX_CONTAINERS:
                return True
            keys = self._keys[before] = _Keys()
        if keys.is_decided:
            return True
        times = keys.times[step] = min(OFTEN, keys.times.get(step, 0) + 1)
        if times == 1 and before not in added:
            added.add(before)
            keys.pairs += 1
            self._decide(before, keys)
        return times >= OFTEN

    def _decide(self, before: str, keys: _Keys) -> None:
        if keys.pairs <= MIN_PAIRS:
            return
        kept = [step for step, times in keys.times.items() if times >= OFTEN]
        if 4 * len(kept) <= len(keys.times):
            self.found.append(OpenContainer(before, tuple(sorted(kept)[:KEPT_WORDS])))
        elif len(keys.times) <= MAX_WORDS:
            return
        keys.is_decided = True
        keys.times = {}
