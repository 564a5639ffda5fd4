"""A sample as a page shows it.

In: a sample.  Out: its headline, its differences in words, headers and bodies side by side.
Holds: pure, and bounded in time by the bounds of its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.web.side_by_side import SideBySide, side_by_side
from shadowdiff.web.words import FAILURES, Said, headline, sentence

if TYPE_CHECKING:
    from shadowdiff.model import Difference
    from shadowdiff.report import Sample, SideSample
    from shadowdiff.report.redaction import HeaderTexts

SHOWN_DIFFERENCES: Final = 100
_HEADER: Final = "header."


class HeaderRow(NamedTuple):
    """A header of both sides: `equal`, `changed` where that counts, `ignored` where it does not."""

    state: str
    name: str
    primary: str | None
    candidate: str | None


class Told(NamedTuple):
    """A difference and its sentence."""

    found: Difference
    said: list[Said]


@dataclass(frozen=True, slots=True)
class SampleView:
    """What the page of a sample shows."""

    sample: Sample
    headline: list[Said]
    counted: list[Told]
    covered: list[Told]
    headers: list[HeaderRow]
    body: SideBySide

    @property
    def hidden(self) -> int:
        """How many differences are not listed."""
        listed = len(self.counted) + len(self.covered)
        return len(self.sample.differences) - listed + self.sample.unlisted


def view(sample: Sample) -> SampleView:
    """Return the page of a sample."""
    shown = sample.differences[:SHOWN_DIFFERENCES]
    told = [Told(found, sentence(found)) for found in shown]
    return SampleView(
        sample=sample,
        headline=headline(sample),
        counted=[one for one in told if one.found.rule is None],
        covered=[one for one in told if one.found.rule is not None],
        headers=_headers(sample),
        body=side_by_side(sample.primary.body, sample.candidate.body, sample.differences),
    )


def answered(side: SideSample) -> str:
    """Return what a side answered in a word or two."""
    return FAILURES[side.failure] if side.failure else str(side.status)


def _headers(sample: Sample) -> list[HeaderRow]:
    primary, candidate = _joined(sample.primary.headers), _joined(sample.candidate.headers)
    counts = {found.path.removeprefix(_HEADER) for found in sample.differences if found.rule is None}
    rows = [
        HeaderRow(_state(name, primary, candidate, counts), name, primary.get(name), candidate.get(name))
        for name in dict.fromkeys([*primary, *candidate])
    ]
    return sorted(rows, key=lambda row: ("changed", "ignored", "equal").index(row.state))


def _state(name: str, primary: dict[str, str], candidate: dict[str, str], counts: set[str]) -> str:
    if primary.get(name) == candidate.get(name):
        return "equal"
    return "changed" if name in counts else "ignored"


def _joined(headers: HeaderTexts) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}\n{value}" if name in joined else value
    return joined
