"""Lay out two bodies side by side: fold equal lines, mark changed parts, and dim parts that a rule covers.

The same rows can be shown side by side, unified, or as a patch. Both columns have the same number of rows. The number
of lines and the time are limited. Lines beyond the limit are omitted, and then `truncated` is set.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.display import json_lines
from shadowdiff.display.json_lines import Line
from shadowdiff.model import Kind
from shadowdiff.rules.builtin import BOTH_BROKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shadowdiff.model import Difference
    from shadowdiff.report import Body

MAX_LINES: Final = 1500
CONTEXT: Final = 3
_FOLD_FROM: Final = 4
ONE_SIDED: Final = 8
"""If only one side has a stretch of rows, this many rows are shown and the rest is folded."""
_INDEX: Final = re.compile(r"\[\d+\]")
_DOCUMENT: Final = re.compile(r"\['\{(?:json|form)\}'\].*", re.DOTALL)
"""The path inside a document that a string holds: the string is one line."""
_LEAST_WORDS: Final = 5
_MOST_WORK: Final = 200_000
"""Maximum word comparisons per page. Beyond it, a line is marked from its first to its last change."""
_ALIKE: Final = 0.5
"""Texts with a similarity ratio below this are marked as a whole."""
_WORD: Final = re.compile(r"-?\d+(?:\.\d+)?|\w+|\s+|.", re.DOTALL)

_Numbered = tuple[int, Line]
"""A line and its number, from 1."""


class Piece(NamedTuple):
    """A part of a line.  changed: whether it differs from the other side."""

    text: str
    changed: bool = False


class Cell(NamedTuple):
    """One side's line in a row.  number: 0 if the side has no line in this row."""

    number: int
    depth: int
    pieces: tuple[Piece, ...]


class DiffRow(NamedTuple):
    """One line on each side. state: `equal`, `changed`, or `ignored` if a rule covers the difference."""

    state: str
    primary: Cell
    candidate: Cell


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows. A folded block is hidden until the user opens it."""

    folded: bool
    rows: list[DiffRow]

    @property
    def title(self) -> str:
        """The title of a folded block, which describes its rows."""
        if self.rows[0].state == "equal":
            return f"{len(self.rows)} equal lines"
        side = "v2" if self.rows[0].primary == NO_LINE else "v1"
        return f"{len(self.rows)} more lines of {side}"

    @property
    def lines(self) -> list[UnifiedLine]:
        """The rows in a unified view."""
        return list(_unified_lines(self.rows))


@dataclass(frozen=True, slots=True)
class BodyDiff:
    """Two bodies.  truncated: a side has more lines than are shown.  reordered: v2's keys were put in v1's order."""

    blocks: list[Block]
    truncated: bool = False
    reordered: bool = False


NO_LINE: Final = Cell(0, 0, ())


def diff_bodies(primary: Body, candidate: Body, differences: Sequence[Difference]) -> BodyDiff:
    """Return two bodies as rows. JSON is shown with v2's keys in v1's order, other text unchanged."""
    unordered = [found.path for found in differences if found.kind is Kind.ORDER and found.rule is not None]
    like = _json(primary)
    left, _ = _lines(primary, like)
    right, reordered = _lines(candidate, _json(candidate), like, unordered)
    truncated = max(len(left), len(right)) > MAX_LINES
    rows = _rows(left[:MAX_LINES], right[:MAX_LINES], _Styles(differences))
    return BodyDiff(_fold(rows), truncated=truncated, reordered=reordered)


def _json(body: Body) -> json_lines.Node | None:
    """Return a body's JSON if it is an object or an array."""
    node = None if body.base64 else json_lines.read(body.text)
    return node if node is not None and node.opens else None


def _lines(
    body: Body, node: json_lines.Node | None, like: json_lines.Node | None = None, unordered: Sequence[str] = ()
) -> tuple[list[Line], bool]:
    """Return a body's lines, and whether keys moved.  unordered: arrays whose elements also get v1's order."""
    if node is None:
        return [Line(0, line, "text") for line in body.text.splitlines()], False
    return json_lines.lines_like(node, like, unordered)


class _Styles:
    """Chooses the differing lines to dim and the words to mark. This work is limited per page."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        self._work = _MOST_WORK
        places = [(_DOCUMENT.sub("", found.path), found.rule) for found in differences]
        self._covered = [path for path, rule in places if rule not in {None, BOTH_BROKEN.label}]
        self._counted = [path for path, rule in places if rule is None]

    def cover(self, *paths: str) -> bool:
        """Return whether every path is at or below a covered difference, but not at or below one that counts."""
        return all(_under(path, self._covered) and not _under(path, self._counted) for path in paths if path)

    def marked(self, old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """Return the pieces of both lines, with changed words and numbers marked."""
        a, b = _WORD.findall(old), _WORD.findall(new)
        start = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        room = min(len(a), len(b)) - start
        backwards = enumerate(zip(reversed(a), reversed(b), strict=False))
        end = next((n for n, (x, y) in backwards if x != y or n >= room), room)
        middle = self._middle(a[start : len(a) - end], b[start : len(b) - end])
        head, tail = Piece("".join(a[:start])), Piece("".join(a[len(a) - end :]))
        ours, theirs = (tuple(piece for piece in (head, *pieces, tail) if piece.text) for pieces in middle)
        return ours, theirs

    def _middle(self, a: list[str], b: list[str]) -> tuple[list[Piece], list[Piece]]:
        """Return the pieces between the first and the last change. In long texts, mark each change separately."""
        whole = [Piece("".join(a), changed=True)], [Piece("".join(b), changed=True)]
        work = len(a) * len(b)
        if min(len(a), len(b)) < _LEAST_WORDS or work > self._work:
            return whole
        self._work -= work
        matcher = SequenceMatcher(None, a, b, autojunk=False)
        if matcher.ratio() < _ALIKE:
            return whole
        changes = matcher.get_opcodes()
        return (
            [Piece("".join(a[start:end]), changed=tag != "equal") for tag, start, end, _, _ in changes],
            [Piece("".join(b[start:end]), changed=tag != "equal") for tag, _, _, start, end in changes],
        )


def _under(path: str, roots: list[str]) -> bool:
    return any(path == root or (path.startswith(root) and path[len(root)] == "[") for root in roots)


def _rows(left: list[Line], right: list[Line], styles: _Styles) -> list[DiffRow]:
    # With autojunk, often repeated lines are not used as anchors, so malicious bodies cannot cause quadratic run time.
    matcher = SequenceMatcher(None, [_match_key(line) for line in left], [_match_key(line) for line in right])
    ours, theirs = list(enumerate(left, 1)), list(enumerate(right, 1))
    rows: list[DiffRow] = []
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        if tag == "equal":
            pairs = zip(ours[a0:a1], theirs[b0:b1], strict=True)
            rows.extend(DiffRow("equal", _cell(one), _cell(other)) for one, other in pairs)
        else:
            rows.extend(_differing(ours[a0:a1], theirs[b0:b1], styles))
    return rows


def _match_key(line: Line) -> tuple[str, str]:
    """Return the key by which lines are matched: path and text, so that a bracket matches only its counterpart."""
    return _INDEX.sub("[*]", line.path), line.text


def _differing(left: list[_Numbered], right: list[_Numbered], styles: _Styles) -> list[DiffRow]:
    """Return the rows of a stretch that differs. Lines with the same path share a row; other lines go in between."""
    rows: list[DiffRow] = []
    ours = theirs = 0
    for a, b in [*_partners(left, right), (len(left), len(right))]:
        between = zip_longest(left[ours:a], right[theirs:b])
        together = zip(left[a : a + 1], right[b : b + 1], strict=True)
        rows.extend(_row(one, other, styles) for one, other in (*between, *together))
        ours, theirs = a + 1, b + 1
    return rows


def _partners(left: list[_Numbered], right: list[_Numbered]) -> list[tuple[int, int]]:
    """Return pairs of lines with the same path, in order. Each line is in one pair at most."""
    by_path: defaultdict[str, list[int]] = defaultdict(list)
    for at, (_, line) in enumerate(right):
        by_path[line.path].append(at)
    partners: list[tuple[int, int]] = []
    after = 0
    for at, (_, line) in enumerate(left):
        found = next((place for place in by_path.get(line.path, ()) if place >= after), None)
        if found is not None and line.path != "text":
            partners.append((at, found))
            after = found + 1
    return partners


def _row(ours: _Numbered | None, theirs: _Numbered | None, styles: _Styles) -> DiffRow:
    state = "ignored" if styles.cover(*(one[1].path for one in (ours, theirs) if one)) else "changed"
    if not ours or not theirs or ours[1].path != theirs[1].path:
        return DiffRow(state, _cell(ours), _cell(theirs))
    old, new = styles.marked(ours[1].text, theirs[1].text)
    return DiffRow(state, _cell(ours, old), _cell(theirs, new))


def _cell(numbered: _Numbered | None, pieces: tuple[Piece, ...] | None = None) -> Cell:
    if numbered is None:
        return NO_LINE
    number, line = numbered
    pieces = (Piece(line.text),) if pieces is None else pieces
    if line.comma and pieces and not pieces[-1].changed:
        pieces = (*pieces[:-1], Piece(pieces[-1].text + ","))
    elif line.comma:
        pieces = (*pieces, Piece(","))
    return Cell(number, line.depth, pieces)


def _fold(rows: list[DiffRow]) -> list[Block]:
    """Return the rows in blocks. Fold rows far from a difference or deep in a one-sided block."""
    groups = groupby(zip(_shown(rows), rows, strict=True), key=lambda one: "" if one[0] else one[1].state)
    blocks = [(hidden, [row for _, row in group]) for hidden, group in groups]
    return [Block(bool(hidden) and len(held) >= _FOLD_FROM, held) for hidden, held in blocks]


def _shown(rows: list[DiffRow]) -> list[bool]:
    near = _near_differences(rows)
    shown: list[bool] = []
    length = 0
    for at, row in enumerate(rows):
        length = length + 1 if NO_LINE in (row.primary, row.candidate) else 0
        shown.append(at in near and length <= ONE_SIDED)
    return shown


def _near_differences(rows: Sequence[DiffRow]) -> set[int]:
    """Return the positions of the rows that differ, and of a few rows around each."""
    differing = (at for at, row in enumerate(rows) if row.state != "equal")
    return {near for at in differing for near in range(at - CONTEXT, at + CONTEXT + 1)}


class UnifiedLine(NamedTuple):
    """A line of the unified view.  sign: `-` for v1, `+` for v2, a space for both.  old, new: line numbers or 0."""

    sign: str
    state: str
    old: int
    new: int
    cell: Cell


def _unified_lines(rows: Iterable[DiffRow]) -> Iterator[UnifiedLine]:
    """Yield each line once. Among consecutive lines that differ, v1's lines come before v2's."""
    for equal, group in groupby(rows, key=lambda row: row.state == "equal"):
        if equal:
            for row in group:
                yield UnifiedLine(" ", row.state, row.primary.number, row.candidate.number, row.primary)
            continue
        stretch = list(group)
        for row in stretch:
            if row.primary != NO_LINE:
                yield UnifiedLine("-", row.state, row.primary.number, 0, row.primary)
        for row in stretch:
            if row.candidate != NO_LINE:
                yield UnifiedLine("+", row.state, 0, row.candidate.number, row.candidate)


def patch_text(rows: Sequence[DiffRow], old: str, new: str) -> str:
    """Return the output of `diff -u` for the two texts in this layout; empty if they are equal."""
    # If a line is last on one side only, it has no comma on that side. People read it as equal, but patch(1) does not.
    exact = [row._replace(state="equal" if _text(row.primary) == _text(row.candidate) else "changed") for row in rows]
    near = _near_differences(exact)
    groups = groupby(enumerate(exact), key=lambda one: one[0] in near)
    hunks = [_hunk([row for _, row in group]) for is_near, group in groups if is_near]
    return "".join([f"--- {old}\n+++ {new}\n", *hunks]) if hunks else ""


def _hunk(rows: Sequence[DiffRow]) -> str:
    lines = list(_unified_lines(rows))
    old, new = [line.old for line in lines if line.old], [line.new for line in lines if line.new]
    head = f"@@ -{_range(old)} +{_range(new)} @@\n"
    return head + "".join(f"{line.sign}{_text(line.cell)}\n" for line in lines)


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]},{len(numbers)}" if numbers else "0,0"


def _text(cell: Cell) -> str:
    return "  " * cell.depth + "".join(piece.text for piece in cell.pieces)
