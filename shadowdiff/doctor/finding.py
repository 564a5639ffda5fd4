"""The parts of a diagnosis: findings, each with a fix and two halves next to each other."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.doctor.evidence import Orphan


class Severity(StrEnum):
    """`error`: nothing or almost nothing is compared. `warning`: a part of the traffic is not compared."""

    ERROR = "error"
    WARNING = "warning"


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One fact about both halves; a dash if a half does not have it."""

    name: str
    primary: str
    candidate: str

    @property
    def differs(self) -> bool:
        """Whether the values of this fact differ between the two halves."""
        return self.primary != self.candidate


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """Two halves side by side: the record from v1's recorder, and the request from the mesh."""

    rows: tuple[Row, ...]
    primary: str = "v1, recorded"
    candidate: str = "v2, mirrored"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One problem.

    code: the finding's name in the API. target: empty if all targets are affected; others: further affected targets.
    title: what was observed. explanation: the effect on pairing. fix: what to do. lines: commands to copy.
    """

    code: str
    severity: Severity
    target: str
    title: str
    explanation: str
    fix: str
    lines: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    others: tuple[str, ...] = ()

    def concerns(self, target: str) -> bool:
        """Return whether a target is affected."""
        return self.target in ("", target) or target in self.others


NO_TRAFFIC: Final = ("nothing_arrives", "mirrors_without_records", "records_without_mirrors")
"""The codes of the findings for a target that receives nothing, or only one half."""
error: Final = partial(Finding, target="", severity=Severity.ERROR)
warning: Final = partial(Finding, target="", severity=Severity.WARNING)
"""Checks create findings with this; `registry` adds the target of a target check."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The checked targets and the findings; without findings, no problem was found."""

    at_ms: int
    targets: tuple[str, ...]
    findings: tuple[Finding, ...]


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{share * 100:.0f} %" if share >= 0.1 or share == 0 else f"{share * 100:.1f} %"  # noqa: PLR2004


def join_words(words: Sequence[str], most: int = 4) -> str:
    """Join the first words with commas, and add how many words are left."""
    more = [f"{len(words) - most} more"] if len(words) > most else []
    return ", ".join([*words[:most], *more])


def side_by_side(primary: Orphan | None, candidate: Orphan | None) -> Example:
    """Return two halves side by side; a missing half is a dash."""
    names = ("key", "id", "id from", "request", "host", "response")
    ours, theirs = (
        (one.key, one.id, one.id_source, f"{one.method} {one.path}", one.host, str(one.status or "none"))
        if one
        else ("–",) * len(names)
        for one in (primary, candidate)
    )
    return Example(rows=tuple(map(Row, names, ours, theirs)))
