"""Samples of what differed, redacted before they come to rest.

In: pairs and their comparisons.  Out: writes that keep the newest, and readers for the pages.
Holds: bounded in number, size and age; only redacted text goes in.
"""

from shadowdiff.report.redaction import Redactor
from shadowdiff.report.samples import (
    Body,
    Sample,
    SampleSettings,
    SideSample,
    Summary,
    newest_samples,
    sample,
    sample_writes,
)

__all__ = [
    "Body",
    "Redactor",
    "Sample",
    "SampleSettings",
    "SideSample",
    "Summary",
    "newest_samples",
    "sample",
    "sample_writes",
]
