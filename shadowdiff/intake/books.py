"""The intake's books: what came in, and the one place where each of it went.

In: plain increments by the two intakes.  Out: rows that the ledger and the metrics read.
Holds: `in_flight` goes up when an item is received and down when its disposition is known, on its own;
so `received` equals the sum of the rest only if every item got exactly one disposition.
Reads no clock and takes no lock: one event loop writes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from shadowdiff.intake.losses import RouteLosses
from shadowdiff.model import Side

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT_EXAMPLES = 32
"""Different examples kept of each kind; the one not seen for longest gives way."""


@dataclass(slots=True)
class Row:
    """What every row has: a count of all received, and a check of its own sum."""

    received: int = 0
    in_flight: int = 0

    def counts(self) -> dict[str, int]:
        """Return every count by its name in the ledger."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def balanced(self) -> bool:
        """Whether what was received equals the sum of everything else."""
        return self.received == sum(self.counts().values()) - self.received

    def add(self, other: Row) -> None:
        """Add another row of the same kind, count by count."""
        for name, count in other.counts().items():
            setattr(self, name, getattr(self, name) + count)


@dataclass(slots=True)
class MirrorRow(Row):
    """The mirrored requests of one target."""

    forwarded: int = 0
    blocked: int = 0
    sampled_out: int = 0
    unidentified: int = 0
    looped: int = 0
    aborted: int = 0
    too_large: int = 0
    shed: int = 0
    store_lost: int = 0

    def settled(self, parked: bool) -> None:  # noqa: FBT001 - the sink's callback
        """Take the store's answer for one forwarded request."""
        self.in_flight -= 1
        if parked:
            self.forwarded += 1
        else:
            self.store_lost += 1


@dataclass(slots=True)
class RecordRow(Row):
    """The recorded answers of one side of one target."""

    accepted: int = 0
    ineligible: int = 0
    sampled_out: int = 0
    refused: int = 0
    shed: int = 0
    store_lost: int = 0

    def settled(self, parked: bool) -> None:  # noqa: FBT001 - the sink's callback
        """Take the store's answer for one record."""
        self.in_flight -= 1
        if parked:
            self.accepted += 1
        else:
            self.store_lost += 1


@dataclass(slots=True)
class ControlRow(Row):
    """The requests that were drawn for the control of one target."""

    observed: int = 0
    shed: int = 0
    store_lost: int = 0

    def settled(self, parked: bool) -> None:  # noqa: FBT001 - the sink's callback
        """Take the store's answer for one control observation."""
        self.in_flight -= 1
        if parked:
            self.observed += 1
        else:
            self.store_lost += 1


@dataclass(slots=True)
class Example:
    """Something that did not fit, as it was seen last."""

    count: int = 0
    last_path: str = ""


class Examples:
    """The newest few kinds of one misfit, each with a count and its last path."""

    __slots__ = ("_kept", "_limit")

    def __init__(self, limit: int = KEPT_EXAMPLES) -> None:
        self._kept: OrderedDict[str, Example] = OrderedDict()
        self._limit = limit

    def saw(self, what: str, path: str) -> None:
        """Count one more of `what`; both texts are cut to 200 characters."""
        what = what[:200]
        example = self._kept.get(what)
        if example is None:
            example = self._kept[what] = Example()
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(what)
        example.count += 1
        example.last_path = path.partition("?")[0][:200]

    def newest(self) -> list[tuple[str, int, str]]:
        """Return (what, count, last path), the newest first. Queries are not kept: they may hold secrets."""
        return [(what, seen.count, seen.last_path) for what, seen in reversed(self._kept.items())]


@dataclass(slots=True)
class Books:
    """Every row by target, why things were shed, and examples of what did not fit."""

    mirrored: dict[str, MirrorRow] = field(default_factory=dict[str, MirrorRow])
    recorded: dict[tuple[str, Side], RecordRow] = field(default_factory=dict[tuple[str, Side], RecordRow])
    controls: dict[str, ControlRow] = field(default_factory=dict[str, ControlRow])
    losses: RouteLosses = field(default_factory=RouteLosses)
    shed_reasons: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    unknown_mirrored: Examples = field(default_factory=Examples)
    unknown_recorded: Examples = field(default_factory=Examples)
    unidentified: Examples = field(default_factory=Examples)
    loops: Examples = field(default_factory=Examples)
    blocked: Examples = field(default_factory=Examples)
    refusals: Examples = field(default_factory=Examples)

    def mirror_row(self, target: str) -> MirrorRow:
        """Return the target's row of mirrored requests, the same object every time."""
        return self.mirrored.setdefault(target, MirrorRow())

    def record_row(self, target: str, side: Side = Side.PRIMARY) -> RecordRow:
        """Return the row of one side's records, the same object every time."""
        return self.recorded.setdefault((target, side), RecordRow())

    def control_row(self, target: str) -> ControlRow:
        """Return the target's row of control requests, the same object every time."""
        return self.controls.setdefault(target, ControlRow())

    def records(self, target: str) -> RecordRow:
        """Return the target's records, all sides summed: the ledger's `recorded`."""
        total = RecordRow()
        for (name, _), row in self.recorded.items():
            if name == target:
                total.add(row)
        return total

    def shed(self, target: str, reason: str) -> None:
        """Note why something of a target was shed; its row counts that it was."""
        self.shed_reasons[target, reason] = self.shed_reasons.get((target, reason), 0) + 1

    def rows(self) -> Iterable[Row]:
        """Return every row there is."""
        return (*self.mirrored.values(), *self.recorded.values(), *self.controls.values())

    def targets(self) -> set[str]:
        """Return every target that has a row."""
        return {*self.mirrored, *self.controls, *(name for name, _ in self.recorded)}
