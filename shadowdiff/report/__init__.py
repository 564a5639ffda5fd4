"""Mismatches grouped into fingerprints, and samples of them, redacted before they come to rest.

In: pairs and their comparisons.  Out: writes that count and keep, and readers for the pages.
Holds: bounded in number, size and age; only redacted text goes in.
"""

from shadowdiff.report.fingerprint import FingerprintSettings, Place, Print, print_of
from shadowdiff.report.fingerprints import Fingerprint, Fingerprints, Page, Trend
from shadowdiff.report.keeping import Keeping
from shadowdiff.report.patterns import Patterns
from shadowdiff.report.redaction import Redactor
from shadowdiff.report.redaction_key import redaction_key, shared_key
from shadowdiff.report.remarks import Note, Remarks, State, Stated
from shadowdiff.report.sample_reads import newest_samples, sample, whole_samples
from shadowdiff.report.samples import (
    Body,
    Sample,
    SampleSettings,
    SideSample,
    Summary,
    sample_writes,
)
from shadowdiff.report.stage import ReportStage
from shadowdiff.report.wanted import Order, Span, Wanted

__all__ = [
    "Body",
    "Fingerprint",
    "FingerprintSettings",
    "Fingerprints",
    "Keeping",
    "Note",
    "Order",
    "Page",
    "Patterns",
    "Place",
    "Print",
    "Redactor",
    "Remarks",
    "ReportStage",
    "Sample",
    "SampleSettings",
    "SideSample",
    "Span",
    "State",
    "Stated",
    "Summary",
    "Trend",
    "Wanted",
    "newest_samples",
    "print_of",
    "redaction_key",
    "sample",
    "sample_writes",
    "shared_key",
    "whole_samples",
]
