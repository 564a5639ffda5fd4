"""Make the sample of a pair immediately, without the selection by a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.model import Result
from shadowdiff.report.samples import SampleSource, encode_sample, keep_writes

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Pair, Write
    from shadowdiff.report import SampleSettings


def sample_writes(
    pair: Pair, comparison: Comparison, settings: SampleSettings, at_ms: int, fingerprint: str | None = None
) -> tuple[Write, ...]:
    """Return the writes that store a sample of a mismatch or an incomparable pair; other results have no sample."""
    most = {Result.MISMATCH: settings.keep, Result.INCOMPARABLE: settings.incomparable}
    if not most.get(comparison.result):
        return ()
    source = SampleSource(pair, comparison, settings.redactor, settings.body_bytes, at_ms, fingerprint)
    return keep_writes(settings, source, encode_sample(source))
