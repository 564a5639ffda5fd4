"""Two bodies one below the other: as a unified view, and as the text of a patch.

In: the rows of `side_by_side`.  Out: lines with their sign; a text that `patch` and reviewers understand.
Holds: pure; every line of the rows stands once, those of v1 that differ before those of v2.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.web.side_by_side import CONTEXT, NOTHING, Block, Cell, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_INDENT: Final = "  "


class UnifiedLine(NamedTuple):
    """A line: `-` of v1 alone, `+` of v2 alone, a blank for both; its numbers are 0 where a side has none."""

    sign: str
    state: str
    old: int
    new: int
    cell: Cell


class UnifiedBlock(NamedTuple):
    """Lines that stand together; folded ones are shown on demand."""

    folded: bool
    title: str
    lines: list[UnifiedLine]


def unified(blocks: Sequence[Block]) -> list[UnifiedBlock]:
    """Return the blocks with the two sides below each other."""
    return [
        UnifiedBlock(block.folded, block.title if block.folded else "", list(_below(block.rows))) for block in blocks
    ]


def _below(rows: Iterable[Row]) -> Iterator[UnifiedLine]:
    """Yield the lines: of each stretch that differs, v1's before v2's."""
    for equal, stretch in groupby(rows, key=lambda row: row.state == "equal"):
        if equal:
            for row in stretch:
                yield UnifiedLine(" ", row.state, row.primary.number, row.candidate.number, row.primary)
            continue
        held = list(stretch)
        for row in held:
            if row.primary != NOTHING:
                yield UnifiedLine("-", row.state, row.primary.number, 0, row.primary)
        for row in held:
            if row.candidate != NOTHING:
                yield UnifiedLine("+", row.state, 0, row.candidate.number, row.candidate)


def patch_text(rows: Sequence[Row], old: str, new: str) -> str:
    """Return what `diff -u` says of the two texts as they are laid out; empty where they are equal."""
    # A line that is last on one side alone has no comma there: equal to a reader, and not to patch(1).
    exact = [row._replace(state="equal" if _text(row.primary) == _text(row.candidate) else "changed") for row in rows]
    hunks = [_hunk(exact[start:end]) for start, end in _stretches(exact)]
    return "".join([f"--- {old}\n+++ {new}\n", *hunks]) if hunks else ""


def _stretches(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Yield where hunks begin and end: what differs, with a few equal rows around it."""
    start = end = -1
    for at, row in enumerate(rows):
        if row.state == "equal":
            continue
        if start >= 0 and at - CONTEXT > end:
            yield start, end
            start = -1
        start = max(0, at - CONTEXT) if start < 0 else start
        end = min(len(rows), at + CONTEXT + 1)
    if start >= 0:
        yield start, end


def _hunk(rows: Sequence[Row]) -> str:
    lines = list(_below(rows))
    old, new = [line.old for line in lines if line.old], [line.new for line in lines if line.new]
    head = f"@@ -{_range(old)} +{_range(new)} @@\n"
    return head + "".join(f"{line.sign}{_text(line.cell)}\n" for line in lines)


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]},{len(numbers)}" if numbers else "0,0"


def _text(cell: Cell) -> str:
    return _INDENT * cell.depth + "".join(piece.text for piece in cell.pieces)
