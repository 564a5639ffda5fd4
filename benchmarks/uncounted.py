"""Serve as `shadowdiff serve` does, without the statistics: `benchmarks/counting.py` measures what they cost.

Counts since the start, counts over time and the epoch's counts are left out; the ledger, samples and fingerprints stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.cli import main
from shadowdiff.service import judging
from shadowdiff.verdict import Epochs

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Pair, Write


def _nothing(*_of_a_pair: object) -> tuple[Write, ...]:
    return ()


def _nothing_of_epochs(
    self: Epochs,  # noqa: ARG001 - in the place of a method
    pair: Pair,  # noqa: ARG001
    comparison: Comparison,  # noqa: ARG001
    _at_ms: int,
) -> tuple[Write, ...]:
    return ()


if __name__ == "__main__":
    judging.count_writes = _nothing
    judging.bucket_writes = _nothing
    Epochs.writes = _nothing_of_epochs
    main()
