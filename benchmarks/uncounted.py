"""Run `shadowdiff serve` without the statistics; `benchmarks/counting.py` measures their cost.

Counts since the start, counts over time and the run's counts are disabled; the ledger, samples and fingerprints stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.cli import main
from shadowdiff.service import comparison_pipeline
from shadowdiff.verdict import Runs

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Pair, Write


def _nothing(*_of_a_pair: object) -> tuple[Write, ...]:
    return ()


def _nothing_of_runs(
    self: Runs,  # noqa: ARG001 - in the place of a method
    pair: Pair,  # noqa: ARG001
    comparison: Comparison,  # noqa: ARG001
    _at_ms: int,
) -> tuple[Write, ...]:
    return ()


if __name__ == "__main__":
    comparison_pipeline.count_writes = _nothing
    comparison_pipeline.history_writes = _nothing
    Runs.writes = _nothing_of_runs
    main()
