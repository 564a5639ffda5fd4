"""Group mismatches into fingerprints and keep redacted samples of them.

Fingerprints and samples have limits on number, size and age. Nothing is stored before it is redacted.
"""

from shadowdiff.report.cause_reader import CauseReader
from shadowdiff.report.cause_writes import CauseWrites, CountedRun
from shadowdiff.report.change import Change, change_id
from shadowdiff.report.fingerprint import Place, print_of
from shadowdiff.report.fingerprint_query import Fingerprint, FingerprintQuery, Order, Page, Span
from shadowdiff.report.fingerprints import Fingerprints
from shadowdiff.report.parameters import SafeParameters, hides_lines
from shadowdiff.report.patterns import Patterns
from shadowdiff.report.redaction import Redactor, redaction_key, shared_key
from shadowdiff.report.retention import Retention
from shadowdiff.report.sample_reads import newest_samples, sample, whole_samples
from shadowdiff.report.samples import Body, ReportStage, Sample, SampleSettings, SideSample, Summary
from shadowdiff.report.triage import State, TriageWriter

__all__ = [
    "Body", "CauseReader", "CauseWrites", "Change", "CountedRun", "Fingerprint", "FingerprintQuery", "Fingerprints",
    "Order", "Page", "Patterns", "Place", "Redactor", "ReportStage", "Retention", "SafeParameters", "Sample",
    "SampleSettings", "SideSample", "Span", "State", "Summary", "TriageWriter", "change_id", "hides_lines",
    "newest_samples", "print_of", "redaction_key", "sample", "shared_key", "whole_samples",
]  # fmt: skip
