"""A run counts within the configured bounds."""

from __future__ import annotations

from shadowdiff.model import Incr
from shadowdiff.verdict import CountCaps, Run, RunInputs, StartedBy
from shadowdiff.verdict.run_counter import RunCounter
from tests.fakes.traffic import mismatch, pair


def test_run_counts_within_the_configured_bounds() -> None:
    """Routes have room for older names, and paths are limited by `limits.paths`."""
    caps = CountCaps(routes=7, paths=11)
    counter = RunCounter(RunInputs(target="shop", revision_header=b"x-version", rules="1"), lambda: None, caps=caps)
    counter.take_run(Run(id=1, started_ms=0, by=StartedBy.START, rules="1"))
    writes = counter.writes(pair(), mismatch())
    bounds = {write.key.rpartition(":")[2]: write.cap for write in writes if isinstance(write, Incr)}
    assert {"mismatch": caps.names, "paths": 11} == bounds
