"""How much of v1's traffic the numbers speak for, since an epoch opened.

In: a ledger, and its figures when the epoch opened.  Out: `Coverage`, and why it is too low for a pass.
Holds: pure. A request that was mirrored but whose answer by v1 was never recorded is traffic that the numbers do
not speak for, so that a recorder that is off lowers the coverage, and does not hide behind what it recorded before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shadowdiff.verdict.decide import percent
from shadowdiff.verdict.epochs import flat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs compared, over v1's requests that should have been.

    eligible: answers of v1 whose fate is known, those that were never recorded included.  unrecorded: how many of
    them were mirrored and never recorded.  ratio: compared over eligible.
    """

    eligible: int
    compared: int
    ratio: float
    unrecorded: int = 0
    mirrored: int = 0


def coverage_since(ledger: Mapping[str, Any], opened: Mapping[str, int] | None = None) -> Coverage:
    """Return the coverage from the moment at which the ledger stood at `opened` (from the start where None)."""
    now, then = flat(ledger), opened or {}

    def grown(name: str) -> int:
        return max(0, now.get(name, 0) - then.get(name, 0))

    eligible, compared = grown("coverage.eligible"), grown("coverage.compared")
    unrecorded = grown("observations.candidate.orphaned")
    return Coverage(
        eligible=eligible,
        compared=compared,
        ratio=round(min(1.0, compared / eligible), 6) if eligible else 0.0,
        unrecorded=unrecorded,
        mirrored=grown("mirrored.forwarded"),
    )


def lack_of_coverage(coverage: Coverage, wanted: float) -> str | None:
    """Return why the coverage is too low for a pass; None where it is enough, or nothing has happened yet."""
    recorded = coverage.eligible - coverage.unrecorded
    if recorded <= 0 and coverage.mirrored:
        return (
            f"coverage is 0%: none of v1's answers to {coverage.mirrored:,} mirrored "
            f"{'request' if coverage.mirrored == 1 else 'requests'} has been recorded"
        )
    if not coverage.eligible or coverage.ratio >= wanted:
        return None
    lost = [
        f"{count:,} {what}"
        for count, what in (
            (recorded - coverage.compared, "of v1's answers were not compared"),
            (coverage.unrecorded, "were not recorded"),
        )
        if count > 0
    ]
    return f"coverage is {percent(coverage.ratio)}, {percent(wanted)} is needed: {' and '.join(lost)}"
