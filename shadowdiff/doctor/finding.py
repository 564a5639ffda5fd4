"""What a diagnosis says: findings, each with the way out and two halves side by side."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.doctor.evidence import Orphan


class Gravity(StrEnum):
    """`error`: nothing, or next to nothing, is compared. `warning`: part of it is not."""

    ERROR = "error"
    WARNING = "warning"


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One fact about both halves; a dash where a half has none."""

    name: str
    primary: str
    candidate: str

    @property
    def differs(self) -> bool:
        """Whether the halves disagree here."""
        return self.primary != self.candidate


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """Two halves side by side: what v1's recorder sent, and what the mesh mirrored."""

    rows: tuple[Row, ...]
    primary: str = "v1, recorded"
    candidate: str = "v2, mirrored"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    code: its name, for machines. target: empty where it concerns all of them; others: further ones that it concerns.
    title: what was seen. explanation: why nothing pairs because of it. way_out: what to do. lines: to copy.
    """

    code: str
    gravity: Gravity
    target: str
    title: str
    explanation: str
    way_out: str
    lines: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    others: tuple[str, ...] = ()

    def concerns(self, target: str) -> bool:
        """Return whether a target has to do with this."""
        return self.target in ("", target) or target in self.others


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, and what was found; no finding means that all is well."""

    at_ms: int
    targets: tuple[str, ...]
    findings: tuple[Finding, ...]


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Return a share as people write it."""
    return f"{share * 100:.0f} %" if share >= 0.1 or share == 0 else f"{share * 100:.1f} %"  # noqa: PLR2004


def listed(words: Sequence[str], most: int = 4) -> str:
    """Return words as one list, cut after a few."""
    more = [f"{len(words) - most} more"] if len(words) > most else []
    return ", ".join([*words[:most], *more])


def beside(primary: Orphan | None, candidate: Orphan | None) -> Example:
    """Return two halves side by side; a half that never came is a dash."""

    def row(name: str, of: Callable[[Orphan], str]) -> Row:
        return Row(name, of(primary) if primary else "–", of(candidate) if candidate else "–")

    return Example(
        rows=(
            row("key", lambda orphan: orphan.key),
            row("id", lambda orphan: orphan.id),
            row("id from", lambda orphan: orphan.id_source),
            row("request", lambda orphan: f"{orphan.method} {orphan.path}"),
            row("host", lambda orphan: orphan.host),
            row("answer", lambda orphan: str(orphan.status or "none")),
        )
    )
