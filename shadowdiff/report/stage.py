"""What the report wants stored with a judged pair: its fingerprint counted, and perhaps a sample of it.

In: a pair and its comparison.  Out: writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.report.fingerprint import FingerprintSettings, FingerprintWrites, print_of, severity_of
from shadowdiff.report.samples import SampleSettings, sample_writes

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Pair, Write


class ReportStage:
    """Makes the writes of both; a match costs one comparison of its result."""

    def __init__(self, fingerprints: FingerprintSettings, samples: SampleSettings) -> None:
        self._fingerprints = FingerprintWrites(fingerprints)
        self._samples = samples

    def __call__(self, pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        """Return the writes of one pair."""
        found = print_of(pair, comparison)
        if found is None:
            return sample_writes(pair, comparison, self._samples, at_ms)
        counted = self._fingerprints.writes(pair.target, found, severity_of(comparison), at_ms)
        return (*counted, *sample_writes(pair, comparison, self._samples, at_ms, found.id))
