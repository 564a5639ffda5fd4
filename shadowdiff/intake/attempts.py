"""How many wrong tokens a source may bring before it waits.

In: a source (an address), whether its token was right, and the time.  Out: whether it may bring another.
Holds: who brought a right token lately never waits. Many share an address (a mesh's sidecar shows one for all of them),
and whoever has no token at all would else keep out all who have one. Both tables are bounded. Reads no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from shadowdiff.intake.rate import MOST_SOURCES, SourceRate, source_of

LATELY_S: Final = 600.0
_NOTED_EVERY_S: Final = 60.0


class Attempts:
    """`a_minute` wrong tokens of each source on average, and as many at once."""

    __slots__ = ("_known", "_most", "_wrong")

    def __init__(self, a_minute: int, most: int = MOST_SOURCES) -> None:
        self._wrong = SourceRate(a_minute / 60, a_minute, most)
        self._known: OrderedDict[str, float] = OrderedDict()
        self._most = most

    def may_try(self, source: str, now_s: float) -> bool:
        """Return whether a source may bring a token now."""
        return now_s - self._known.get(source_of(source), -LATELY_S) < LATELY_S or self._wrong.has_room(source, now_s)

    def was_wrong(self, source: str, now_s: float) -> None:
        """Note a wrong token."""
        self._wrong.take(source, now_s)

    def was_right(self, source: str, now_s: float) -> None:
        """Note a right token."""
        name = source_of(source)
        if now_s - self._known.get(name, -LATELY_S) < _NOTED_EVERY_S:
            return
        self._known[name] = now_s
        self._known.move_to_end(name)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
