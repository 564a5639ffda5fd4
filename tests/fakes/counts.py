"""Check the request counts of an intake."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowdiff.intake.counters import Counts, IntakeCounters


def all_counts(counters: IntakeCounters) -> list[Counts]:
    """Return the request counts of every target."""
    return [*counters.mirrored.values(), *counters.recorded.values(), *counters.controls.values()]


def is_balanced(counts: Counts) -> bool:
    """Return whether the number of received requests equals the sum of all other counts."""
    received, *rest = counts.as_dict().values()
    return received == sum(rest)
