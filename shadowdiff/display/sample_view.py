"""A sample as pages and the CLI show it: headline, differences in words, and headers and bodies side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.display.body_diff import BodyDiff, diff_bodies
from shadowdiff.display.wording import FAILURES, Segment, describe, headline

if TYPE_CHECKING:
    from shadowdiff.model import Difference
    from shadowdiff.report import Sample, SideSample
    from shadowdiff.report.redaction import HeaderTexts

SHOWN_DIFFERENCES: Final = 100


class HeaderRow(NamedTuple):
    """A header on both sides. state: `equal`, `changed` if the difference counts, `ignored` if it does not."""

    state: str
    name: str
    primary: str | None
    candidate: str | None


class DescribedDifference(NamedTuple):
    """A difference, and the sentence that describes it."""

    found: Difference
    text: list[Segment]


@dataclass(frozen=True, slots=True)
class SampleView:
    """Everything that is shown for a sample."""

    sample: Sample
    headline: list[Segment]
    counted: list[DescribedDifference]
    covered: list[DescribedDifference]
    headers: list[HeaderRow]
    body: BodyDiff

    @property
    def unlisted(self) -> int:
        """The number of differences that are not listed."""
        listed = len(self.counted) + len(self.covered)
        return len(self.sample.differences) - listed + self.sample.unlisted


def view(sample: Sample) -> SampleView:
    """Return the view of a sample."""
    described = [DescribedDifference(found, describe(found)) for found in sample.differences[:SHOWN_DIFFERENCES]]
    return SampleView(
        sample=sample,
        headline=headline(sample),
        counted=[one for one in described if one.found.rule is None],
        covered=[one for one in described if one.found.rule is not None],
        headers=_headers(sample),
        body=diff_bodies(sample.primary.body, sample.candidate.body, sample.differences),
    )


def response_status(side: SideSample) -> str:
    """Return a side's status code, or the reason why it sent no response."""
    return FAILURES[side.failure] if side.failure else str(side.status)


def _headers(sample: Sample) -> list[HeaderRow]:
    primary, candidate = _joined(sample.primary.headers), _joined(sample.candidate.headers)
    counts = {found.path.removeprefix("header.") for found in sample.differences if found.rule is None}
    rows: list[HeaderRow] = []
    for name in dict.fromkeys([*primary, *candidate]):
        one, other = primary.get(name), candidate.get(name)
        state = "equal" if one == other else "changed" if name in counts else "ignored"
        rows.append(HeaderRow(state, name, one, other))
    return sorted(rows, key=lambda row: ("changed", "ignored", "equal").index(row.state))


def _joined(headers: HeaderTexts) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}\n{value}" if name in joined else value
    return joined
