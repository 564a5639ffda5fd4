"""Draw random moments to kill a process, with the same number of each kind, in random order."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable, Sequence

Kind = TypeVar("Kind", bound="Hashable")


class Moments(Generic[Kind]):
    """One random moment is armed at a time. The process is killed once, after at most `within` events of that kind."""

    def __init__(self, draw: random.Random, kinds: Sequence[Kind], within: int) -> None:
        self.draw = draw
        self.kind: Kind | None = None
        self.reached = asyncio.Event()
        self.hit: Counter[Kind] = Counter()
        self._kinds = kinds
        self._within = within
        self._left: list[Kind] = []
        self._to_come = -1

    def arm(self) -> None:
        """Draw the next moment."""
        if not self._left:
            self._left = self.draw.sample(self._kinds, len(self._kinds))
        self.reached.clear()
        self.kind = self._left.pop()
        self._to_come = self.draw.randrange(self._within)

    def is_now(self, kind: Kind | None) -> bool:
        """Count an event of this kind, and return whether the process must now be killed."""
        if self._to_come < 0 or kind != self.kind:
            return False
        self._to_come -= 1
        return self._to_come < 0

    def note(self) -> None:
        """Record that the process was killed at this moment."""
        if self.kind is not None:
            self.hit[self.kind] += 1
        self.reached.set()
