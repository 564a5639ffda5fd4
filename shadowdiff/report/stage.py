"""What the report wants stored with a judged pair: its fingerprint counted, and perhaps a sample of it.

In: a pair and its comparison.  Out: writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.model import Result
from shadowdiff.report.fingerprint import FingerprintSettings, FingerprintWrites, print_of, severity_of
from shadowdiff.report.samples import Draw, SampleSettings, group_of, sample_writes

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Pair, Write


class ReportStage:
    """Makes the writes of both; of nearly every pair of a frequent fault no sample is made."""

    def __init__(self, fingerprints: FingerprintSettings, samples: SampleSettings) -> None:
        self._fingerprints = FingerprintWrites(fingerprints)
        self._samples = samples
        self._draw = Draw(samples)

    def __call__(self, pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        """Return the writes of one pair."""
        if comparison.result is Result.MATCH or comparison.result is Result.IGNORED:
            return ()
        found = print_of(pair, comparison)
        name = found.id if found else None
        counted = self._fingerprints.writes(pair.target, found, severity_of(comparison), at_ms) if found else ()
        if not self._draw.admits(pair, group_of(pair, comparison, name), comparison.result, at_ms):
            return counted
        return (*counted, *sample_writes(pair, comparison, self._samples, at_ms, name))
