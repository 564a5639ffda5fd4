"""The differences of samples in the form that the API and the command line show: relations have names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiff.model import Comparison, Difference, Kind, Result, Severity
from shadowdiff.model.relation import relation_names
from shadowdiff.report import Sample, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable


class ShownDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference.  change: the relations that hold, the most specific first, each with its parameter or null."""

    path: str
    pattern: str
    kind: Kind
    primary: str | None
    candidate: str | None
    severity: Severity
    rule: str | None
    change: dict[str, str | None]


class ShownSample(Sample, frozen=True, kw_only=True):
    """One pair that differed, redacted."""

    differences: tuple[ShownDifference, ...]  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


class ShownSummary(Summary, frozen=True, kw_only=True):
    """A sample as a line in a list."""

    differences: tuple[ShownDifference, ...]  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


class ShownSamples(msgspec.Struct, frozen=True):
    """The newest samples, newest first.  note: if there are no samples, whether the route or path is unknown."""

    samples: list[ShownSummary]
    note: str = ""


class ShownComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one pair, as `shadowdiff compare` shows it."""

    result: Result
    reason: str
    differences: tuple[ShownDifference, ...]
    unlisted: int


def shown_sample(found: Sample) -> ShownSample:
    """Return a sample for the API."""
    return ShownSample(**_fields(found, found.differences))


def shown_summary(found: Summary) -> ShownSummary:
    """Return a line of a list for the API."""
    return ShownSummary(**_fields(found, found.differences))


def shown_comparison(found: Comparison) -> ShownComparison:
    """Return a result for the command line."""
    return ShownComparison(**_fields(found, found.differences))


def _fields(found: msgspec.Struct, differences: Iterable[Difference]) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    return values | {"differences": tuple(map(_shown, differences))}


def _shown(found: Difference) -> ShownDifference:
    parameters = dict(found.parameters)
    change = {
        name: parameters.get(bit)
        for bit, name in zip(_bits(found.relations), relation_names(found.relations), strict=True)
    }
    values = {name: getattr(found, name) for name in ShownDifference.__struct_fields__[:-1]}
    return ShownDifference(**values, change=change)


def _bits(mask: int) -> list[int]:
    """Return the bits of a mask, the lowest first, as `relation_names` orders them."""
    return [1 << at for at in range(mask.bit_length()) if mask >> at & 1]
