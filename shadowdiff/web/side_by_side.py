"""Lay two bodies side by side: equal stretches folded, changed parts marked, what rules cover dimmed.

In: two bodies as samples hold them, and the differences.  Out: blocks of rows for a page.
Holds: bounded in lines and time; the two columns always have as many rows; no text is lost but beyond the bound,
and then the page says so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.model import Kind
from shadowdiff.web import json_lines
from shadowdiff.web.json_lines import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model import Difference
    from shadowdiff.report import Body

MAX_LINES: Final = 1500
CONTEXT: Final = 3
_FOLD_FROM: Final = 4
ONE_SIDED: Final = 8
"""Rows shown of a stretch that only one side has, before the rest is folded."""
_INDEX: Final = re.compile(r"\[\d+\]")
_LEAST_WORDS: Final = 5
_MOST_WORK: Final = 200_000
"""Products of words of one page. What goes beyond is marked from its first change to its last, since telling each
change apart takes quadratic time."""
_ALIKE: Final = 0.5
"""Texts that share less are marked as a whole: a patchwork of chance words says nothing."""
_WORD: Final = re.compile(r"-?\d+(?:\.\d+)?|\w+|\s+|.", re.DOTALL)


class Piece(NamedTuple):
    """A stretch of a line; `changed` where it differs from the other side."""

    text: str
    changed: bool = False


class Cell(NamedTuple):
    """One side's line of a row; its number is 0 where the side has nothing there."""

    number: int
    depth: int
    pieces: tuple[Piece, ...]


class Row(NamedTuple):
    """A line of each side: `equal`, `changed`, or `ignored` where a rule covers what differs."""

    state: str
    primary: Cell
    candidate: Cell


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that stand together; `folded` ones are shown on demand."""

    folded: bool
    rows: list[Row]

    @property
    def title(self) -> str:
        """What a folded block holds."""
        if self.rows[0].state == "equal":
            return f"{len(self.rows)} equal lines"
        side = "v2" if self.rows[0].primary == NOTHING else "v1"
        return f"{len(self.rows)} more lines of {side}"


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two bodies; `cut` says that a side had more lines than are shown, `reordered` that keys changed their order."""

    blocks: list[Block]
    cut: bool = False
    reordered: bool = False

    @property
    def changed(self) -> int:
        """How many rows differ and count."""
        return sum(row.state == "changed" for block in self.blocks for row in block.rows)


NOTHING: Final = Cell(0, 0, ())


def side_by_side(primary: Body, candidate: Body, differences: Sequence[Difference]) -> SideBySide:
    """Return two bodies as rows."""
    unordered = [found.path for found in differences if found.kind is Kind.ORDER and found.rule is not None]
    left, right, reordered = _lines(primary, candidate, unordered)
    cut = max(len(left), len(right)) > MAX_LINES
    rows = _rows(left[:MAX_LINES], right[:MAX_LINES], _Ink(differences))
    return SideBySide(_fold(rows), cut=cut, reordered=reordered)


def _lines(primary: Body, candidate: Body, unordered: Sequence[str]) -> tuple[list[Line], list[Line], bool]:
    """Return both bodies' lines: JSON over lines in the primary's order of keys, other text as it is.

    unordered: arrays whose elements are written in the primary's order, too.
    """
    left, right = _value(primary), _value(candidate)
    theirs, moved = (_plain(candidate.text), False) if right is None else json_lines.lines_like(right, left, unordered)
    return _plain(primary.text) if left is None else json_lines.lines(left), theirs, moved


def _value(body: Body) -> json_lines.Node | None:
    """Return a body's JSON where it is an object or an array."""
    node = None if body.base64 else json_lines.read(body.text)
    return node if node is not None and node.opens else None


def _plain(text: str) -> list[Line]:
    return [Line(0, line, "text") for line in text.splitlines()]


class _Ink:
    """How lines that differ are drawn: which paths rules cover, and which count; what is marked within them.

    A line is dimmed where only covered paths apply.
    """

    def __init__(self, differences: Sequence[Difference]) -> None:
        self.marker = _Marker()
        self._covered = [found.path for found in differences if found.rule is not None]
        self._counted = [found.path for found in differences if found.rule is None]

    def cover(self, *paths: str) -> bool:
        """Return whether each path lies at or under one that a rule covers, and none at or under one that counts."""
        return all(_under(path, self._covered) and not _under(path, self._counted) for path in paths if path)


def _under(path: str, roots: list[str]) -> bool:
    return any(path == root or (path.startswith(root) and path[len(root)] == "[") for root in roots)


def _rows(left: list[Line], right: list[Line], ink: _Ink) -> list[Row]:
    # With autojunk, lines that repeat often anchor nothing: it keeps hostile bodies from taking quadratic time.
    left_keys, right_keys = [_alike(line) for line in left], [_alike(line) for line in right]
    rows: list[Row] = []
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, left_keys, right_keys).get_opcodes():
        if tag == "equal":
            rows.extend(_equal(left[a], a, right[b], b) for a, b in zip(range(a0, a1), range(b0, b1), strict=True))
        else:
            rows.extend(_differing(left, range(a0, a1), right, range(b0, b1), ink))
    return rows


def _alike(line: Line) -> tuple[str, str]:
    """Return what makes two lines one: their text and place, so that a bracket only meets its own."""
    return _INDEX.sub("[*]", line.path), line.text


def _equal(left: Line, a: int, right: Line, b: int) -> Row:
    return Row("equal", _alone(left, a), _alone(right, b))


def _differing(left: list[Line], a: range, right: list[Line], b: range, ink: _Ink) -> list[Row]:
    """Return the rows of a stretch that differs: lines of one path beside each other, the rest in between."""
    rows: list[Row] = []
    ours, theirs = a.start, b.start
    for at, partner in [*_partners(left, a, right, b), (a.stop, b.stop)]:
        between = zip_longest(range(ours, at), range(theirs, partner))
        rows.extend(_row(left, x, right, y, ink) for x, y in between)
        if at < a.stop:
            rows.append(_row(left, at, right, partner, ink))
        ours, theirs = at + 1, partner + 1
    return rows


def _partners(left: list[Line], a: range, right: list[Line], b: range) -> list[tuple[int, int]]:
    """Return the lines of both sides that have one path, in order, each line once."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for at in b:
        places[right[at].path].append(at)
    partners: list[tuple[int, int]] = []
    after = b.start
    for at in a:
        found = next((place for place in places.get(left[at].path, ()) if place >= after), None)
        if found is not None and left[at].path != "text":
            partners.append((at, found))
            after = found + 1
    return partners


def _row(left: list[Line], a: int | None, right: list[Line], b: int | None, ink: _Ink) -> Row:
    ours, theirs = None if a is None else left[a], None if b is None else right[b]
    state = "ignored" if ink.cover(*(line.path for line in (ours, theirs) if line)) else "changed"
    if ours is None or a is None:
        return Row(state, NOTHING, NOTHING if theirs is None or b is None else _alone(theirs, b))
    if theirs is None or b is None:
        return Row(state, _alone(ours, a), NOTHING)
    if ours.path != theirs.path:
        return Row(state, _alone(ours, a), _alone(theirs, b))
    old, new = ink.marker.marked(ours.text, theirs.text)
    return Row(state, _cell(ours, a, old), _cell(theirs, b, new))


def _alone(line: Line, at: int) -> Cell:
    return _cell(line, at, (Piece(line.text),))


def _cell(line: Line, at: int, pieces: tuple[Piece, ...]) -> Cell:
    if not line.comma:
        return Cell(at + 1, line.depth, pieces)
    last = pieces[-1:]
    if last and not last[0].changed:
        return Cell(at + 1, line.depth, (*pieces[:-1], Piece(last[0].text + ",")))
    return Cell(at + 1, line.depth, (*pieces, Piece(",")))


class _Marker:
    """Marks what differs within lines: by whole words and numbers, and within a bound on the work of one page."""

    def __init__(self) -> None:
        self._work = _MOST_WORK

    def marked(self, old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """Return both lines in pieces."""
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
        """Return what lies between the first and the last change; within long texts, each change apart."""
        whole = [Piece("".join(a), changed=True)], [Piece("".join(b), changed=True)]
        work = len(a) * len(b)
        if min(len(a), len(b)) < _LEAST_WORDS or work > self._work:
            return whole
        self._work -= work
        matcher = SequenceMatcher(None, a, b, autojunk=False)
        return _apart(matcher, a, b) if matcher.ratio() >= _ALIKE else whole


def _apart(matcher: SequenceMatcher[str], a: list[str], b: list[str]) -> tuple[list[Piece], list[Piece]]:
    """Return each change apart."""
    ours: list[Piece] = []
    theirs: list[Piece] = []
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        ours.append(Piece("".join(a[a0:a1]), changed=tag != "equal"))
        theirs.append(Piece("".join(b[b0:b1]), changed=tag != "equal"))
    return ours, theirs


def _fold(rows: list[Row]) -> list[Block]:
    """Return the rows in blocks: what lies far from a difference, or deep in a stretch of one side, is folded."""
    shown = _shown(rows)
    blocks: list[Block] = []
    for row, is_shown in zip(rows, shown, strict=True):
        if (
            not blocks
            or blocks[-1].folded == is_shown
            or (blocks[-1].folded and blocks[-1].rows[-1].state != row.state)
        ):
            blocks.append(Block(folded=not is_shown, rows=[]))
        blocks[-1].rows.append(row)
    return [Block(block.folded and len(block.rows) >= _FOLD_FROM, block.rows) for block in blocks]


def _shown(rows: list[Row]) -> list[bool]:
    shown = [row.state != "equal" for row in rows]
    for at, row in enumerate(rows):
        if row.state != "equal":
            close = range(max(0, at - CONTEXT), min(len(rows), at + CONTEXT + 1))
            shown[close.start : close.stop] = [True] * len(close)
    run = 0
    for at, row in enumerate(rows):
        run = run + 1 if NOTHING in (row.primary, row.candidate) else 0
        shown[at] = shown[at] and run <= ONE_SIDED
    return shown
