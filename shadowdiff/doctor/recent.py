"""Tell what was counted lately from figures that only grow, so that a fault that was mended is soon forgotten.

In: a target's figures now and then, with the time.  Out: their growth over the last minutes.
Holds: reads no clock; bounded: one snapshot a minute and target.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from shadowdiff.doctor.evidence import LEVELS, Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_MS = 60_000
KEPT = 10

_ARRIVALS = ("mirrored.received", "recorded.received")


class Recent:
    """A few snapshots of each target's figures."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[str, deque[tuple[int, dict[str, int]]]] = {}

    def is_due(self, target: str, at_ms: int) -> bool:
        """Return whether the last snapshot is a minute old."""
        kept = self._kept.get(target)
        return not kept or at_ms - kept[-1][0] >= EVERY_MS

    def note(self, target: str, at_ms: int, counts: Counts) -> None:
        """Take a snapshot."""
        self._kept.setdefault(target, deque(maxlen=KEPT)).append((at_ms, dict(counts)))

    def forget(self) -> None:
        """Begin anew, as after a change of configuration."""
        self._kept.clear()

    def since(self, target: str, counts: Counts) -> tuple[dict[str, int], int | None]:
        """Return the growth since the oldest snapshot and its time; where nothing came since, all there is and None."""
        kept = self._kept.get(target)
        if not kept or all(counts.get(name, 0) == kept[0][1].get(name, 0) for name in _ARRIVALS):
            return dict(counts), None
        return self.growth(target, counts), kept[0][0]

    def growth(self, target: str, counts: Counts) -> dict[str, int]:
        """Return the growth since the oldest snapshot; before the first, all there is."""
        kept = self._kept.get(target)
        before = kept[0][1] if kept else {}
        return {name: _growth(name, count, before) for name, count in counts.items()}


def _growth(name: str, count: int, before: Mapping[str, int]) -> int:
    row, _, what = name.rpartition(".")
    if what in LEVELS:
        return count
    growth = count - before.get(name, 0)
    if what == "orphaned":  # what waited then came before, and its fate says nothing of what came since
        growth -= before.get(f"{row}.waiting", 0)
    return max(0, growth)
