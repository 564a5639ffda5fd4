"""Text, compared by line, and by word within a line.

The path of a difference is `text[n]`. The number n is its first line in v1, from 0; for a line that v2 adds to an
unordered text, n is its line in v2. Changed words are between `[-` and `-]` in v1, and between `{+` and `+}` in v2.
Rules apply before lines are aligned: masked text does not affect the alignment, and a match across lines joins them.

A line ends with LF, CRLF or CR. Other Unicode line boundaries are part of the line, because most programs do not split
lines there.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, combinations
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.arrays import rising, unmatched
from shadowdiff.compare.content_type import BYTE_ORDER_MARK, BrokenBodyError
from shadowdiff.compare.excerpt import words
from shadowdiff.compare.formats.format import Bodies, Format, note_marks, start_of, text_of
from shadowdiff.compare.line_places import MAX_CHARS, place_of, template, template_units
from shadowdiff.compare.sequence import equal_pairs, grouped, mirrored_common
from shadowdiff.compare.unordered import Matching
from shadowdiff.compare.value_rules import covering, equal_tokens, hide_all, normalized, search_units
from shadowdiff.model import Kind
from shadowdiff.rules.place import COARSE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.compare.content_type import Media
    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.compiled import Effect
    from shadowdiff.rules.json_values import Value
    from shadowdiff.rules.kinds.kind import ValueRule

_TABLES: Final = frozenset({"text/csv", "text/tab-separated-values"})
_MOST_FAILURES: Final = 8
"""After this number of lines without a partner, other lines are paired only if they are equal under the masks."""
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_LINE_ENDS: Final = ("\n", "\r")
_MOST_SPANNING: Final = 4
"""Up to this number of masks that span line ends, all subsets are tried."""
Blocks = tuple[list[str], Sequence[int]]
"""Lines, some joined, each with the number of its first line; then the number of all lines."""


class Text(Format):
    """Notes the lines that differ, and the words in them."""

    name = "`text/*`, JavaScript and similar"
    docs = (
        "lines, which end in LF, CRLF or CR, and then words inside a line: `[-removed-]`, `{+added+}`. Text that a"
        " mask covers is not marked. If a match of a mask spans several lines, these lines count as one line"
    )
    media_types = (
        "text/*", "application/javascript", "application/ecmascript", "application/graphql", "application/toml",
        "application/sql", "application/openmetrics-text", "application/xhtml+xml",
    )  # fmt: skip
    has_paths = False

    def embedded(self, body: bytes, media: Media, depth: int) -> Value:
        return text_of(body, media.charset)

    def compare(self, bodies: Bodies) -> None:
        effect, findings = bodies.rules.text, bodies.findings
        whole = effect.ignore or bodies.whole
        try:
            left, right = text_of(bodies.one, bodies.media[0].charset), text_of(bodies.other, bodies.media[1].charset)
        except BrokenBodyError:
            findings.note_bytes(bodies.one, bodies.other, whole)
            return
        if not left or not right:
            rule = whole or covering(effect.value_rules, left, right, findings.budget)
            kind = Kind.REMOVED if bodies.one else Kind.ADDED
            findings.note("text", kind, start_of(bodies.one), start_of(bodies.other), rule)
            return
        note_marks(left.startswith(BYTE_ORDER_MARK), right.startswith(BYTE_ORDER_MARK), whole, findings)
        left, right = left.removeprefix(BYTE_ORDER_MARK), right.removeprefix(BYTE_ORDER_MARK)
        if left != right:
            is_table = not _TABLES.isdisjoint(one.name for one in bodies.media)
            instead = partial(self.note_instead, left, right, effect, findings)
            _compare_lines((left, right), effect, findings, whole, is_table=is_table, instead=instead)

    def note_instead(self, one: str, other: str, effect: Effect, findings: Findings) -> bool:
        """Note where two different texts differ that rules do not cover; return False to note their lines."""
        return False


def _compare_lines(
    texts: tuple[str, str],
    effect: Effect,
    findings: Findings,
    whole: str | None,
    *,
    is_table: bool,
    instead: Callable[[], bool],
) -> None:
    one, other = texts
    findings.budget.spend((len(one) + len(other)) // 256)
    rule = whole or covering(effect.value_rules, one, other, findings.budget)
    lines, lines_other = _LINE.findall(one), _LINE.findall(other)
    findings.budget.spend(2 * (len(lines) + len(lines_other)))
    numbers, numbers_other = range(len(lines) + 1), range(len(lines_other) + 1)
    comparison = _Lines((lines, numbers), (lines_other, numbers_other), effect, findings, is_table=is_table)
    if rule is not None:
        comparison.note(lines, lines_other, rule)
        return
    if comparison.note_covered(one, other):
        return
    masks = [rule for rule in effect.value_rules if rule.mask]
    first = None
    for blocks, blocks_other in _joined_ways((lines, lines_other), masks, findings.budget):
        joined = _Lines(blocks, blocks_other, effect, findings, is_table=is_table)
        if joined.note_covered(one, other):
            return
        first = first or joined
    if not instead():
        (first or comparison).note_differing(one, other)


class _Lines:
    """The lines of two texts, some of them joined, with the results of the rules.

    is_table: whether lines are rows, which have no places: another line names their cells, which may be secrets.
    """

    __slots__ = ("_budget", "_effect", "_findings", "_is_table", "_lines", "_lines_other", "_masks", "_numbers")

    def __init__(
        self, blocks: Blocks, blocks_other: Blocks, effect: Effect, findings: Findings, *, is_table: bool
    ) -> None:
        self._is_table = is_table
        self._lines, self._numbers = blocks
        self._lines_other, _ = blocks_other
        self._effect, self._findings = effect, findings
        self._budget = findings.budget
        self._masks = [rule for rule in effect.value_rules if rule.mask]

    def _forms(self, lines: Sequence[str]) -> Sequence[str]:
        leaves = self._effect.value_rules
        return [normalized(leaves, line, self._budget) for line in lines] if leaves else lines

    def _covering(self, line: str, against: str) -> str | None:
        return covering(self._effect.value_rules, line, against, self._budget)

    def note_covered(self, one: str, other: str) -> bool:
        """If rules cover all differences, note them: line by line, or in any order if order does not matter."""
        if len(self._lines) != len(self._lines_other):
            return False
        if self._effect.value_rules and self._note_in_place():
            return True
        if not self._effect.unordered:
            return False
        matching = self._matched(most_failures=0)
        if matching.free():
            return False
        self._findings.note("text", Kind.ORDER, one, other, self._effect.unordered)
        self._note_pairs(matching)
        return True

    def _note_in_place(self) -> bool:
        differing: list[tuple[int, str]] = []
        for at, (line, against) in enumerate(zip(self._lines, self._lines_other, strict=True)):
            if line != against:
                rule = self._covering(line, against)
                if rule is None:
                    return False
                differing.append((at, rule))
        for at, rule in differing:
            self._note_line(at, at, rule)
        return True

    def note_differing(self, one: str, other: str) -> None:
        """Note the differences if at least one counts.

        In an unordered text, lines that differ only in their line end are paired. If both sides have the same number of
        other unmatched lines, those are paired in order.
        """
        if not self._effect.unordered:
            self.note(self._forms(self._lines), self._forms(self._lines_other), None)
            return
        lines, lines_other = self._lines, self._lines_other
        matching = self._matched(most_failures=_MOST_FAILURES)
        if not rising(matching.pairs()):
            self._findings.note("text", Kind.ORDER, one, other, self._effect.unordered)
        self._note_pairs(matching)
        gone, added = matching.free(), matching.free(1)
        texts, texts_other = ([line.rstrip("\r\n") for line in side] for side in (lines, lines_other))
        near = equal_pairs([texts[index] for index in gone], [texts_other[against] for against in added])
        pairs = [(gone[index], added[against]) for index, against in near]
        gone, added = unmatched(gone, added, pairs)
        if len(gone) == len(added):
            pairs += zip(gone, added, strict=True)
            gone, added = [], []
        for index, against in pairs:
            self._note_line(index, against, None)
        for index in gone:
            self._place(range(index, index + 1), range(0), (lines[index], None), None)
        for against in added:
            place = COARSE if self._is_table else place_of((), [lines_other[against]], "", self._budget)
            self._findings.note(f"text[{against}]", Kind.TEXT, None, lines_other[against], pattern=place)

    def _note_pairs(self, matching: Matching) -> None:
        lines, lines_other = _ended(self._lines, self._lines_other)
        for index, against in matching.pairs():
            if lines[index] != lines_other[against]:
                self._note_line(index, against, self._covering(lines[index], lines_other[against]))

    def _matched(self, *, most_failures: int) -> Matching:
        lines, lines_other = _ended(self._lines, self._lines_other)
        matching = Matching(len(lines), len(lines_other), self._budget)
        matching.join_equal(lines, lines_other)
        if not self._effect.value_rules:
            return matching
        masked = ([hide_all(self._masks, line, self._budget) for line in side] for side in (lines, lines_other))
        matching.join_equal(*masked)
        if matching.free() and matching.free(1):
            self._augment(matching, lines, lines_other, most_failures)
        return matching

    def _augment(self, matching: Matching, lines: Sequence[str], lines_other: Sequence[str], failures: int) -> None:
        """Find a partner for each free line, up to a limit of failures; lines fit if they have a common token."""
        rules, budget = self._effect.value_rules, self._budget
        by_token = grouped(
            (token, against) for against, line in enumerate(lines_other) for token in equal_tokens(rules, line, budget)
        )

        def candidates(index: int) -> Iterator[int]:
            tokens = equal_tokens(rules, lines[index], budget)
            return (against for token in tokens for against in by_token.get(token, ()))

        for index in matching.free():
            if not matching.find_partner(index, candidates, lambda _: False):
                failures -= 1
                if failures < 0:
                    return

    def note(self, forms: Sequence[str], forms_other: Sequence[str], rule: str | None) -> None:
        """Note each sequence of lines whose forms differ, and the lines in between that rules cover."""
        matches = mirrored_common(forms, forms_other, self._budget)
        at = at_other = 0
        for stop, stop_other in [*matches, (len(forms), len(forms_other))]:
            if stop > at or stop_other > at_other:
                block, block_other = range(at, stop), range(at_other, stop_other)
                if len(block) == len(block_other) or not self._note_by_template(block, block_other, rule):
                    self._note_block(block, block_other, rule)
            at, at_other = stop + 1, stop_other + 1
        for index, against in matches:
            line, line_other = self._lines[index], self._lines_other[against]
            if line != line_other:
                self._note_line(index, against, self._covering(line, line_other))

    def _note_by_template(self, block: range, block_other: range, rule: str | None) -> bool:
        """Note lines with a partner of the same template apart from other lines; return whether there is a partner."""
        if not block or not block_other or self._findings.room(rule) <= 0:
            return False
        lines, lines_other = self._of(block, block_other)
        chars = sum(map(len, lines)) + sum(map(len, lines_other))
        if chars > MAX_CHARS:
            return False
        self._budget.spend(template_units(chars))
        matches = mirrored_common([*map(template, lines)], [*map(template, lines_other)], self._budget)
        at = at_other = 0
        for stop, stop_other in [*matches, (len(block), len(block_other))] if matches else ():
            self._note_block(block[at:stop], block_other[at_other:stop_other], rule)
            if stop < len(block):
                line, line_other = lines[stop], lines_other[stop_other]
                self._note_line(block[stop], block_other[stop_other], rule or self._covering(line, line_other))
            at, at_other = stop + 1, stop_other + 1
        return bool(matches)

    def _note_block(self, block: range, block_other: range, rule: str | None) -> None:
        """Note two sequences of lines: line by line if they have the same length, else as one difference."""
        if len(block) == len(block_other):
            for index, against in zip(block, block_other, strict=True):
                self._note_line(index, against, rule or self._covering(self._lines[index], self._lines_other[against]))
        else:
            lines, lines_other = self._of(block, block_other)
            self._place(block, block_other, ("".join(lines) or None, "".join(lines_other) or None), rule)

    def _note_line(self, index: int, against: int, rule: str | None) -> None:
        """Note one line; if the list is full, only count it.

        In a line with a difference that counts, masked text has no marks, because masked text is not the defect.
        """
        if self._findings.room(rule) <= 0:
            self._findings.unlisted += 1
            return
        masks, chars = self._masks if rule is None else (), self._findings.limits.value_chars
        shown = words(self._lines[index], self._lines_other[against], self._budget, masks, chars)
        self._place(range(index, index + 1), range(against, against + 1), shown, rule)

    def _place(self, block: range, block_other: range, shown: tuple[str | None, str | None], rule: str | None) -> None:
        """Note a difference between lines.  shown: how the difference shows them."""
        if self._findings.room(rule) <= 0:
            self._findings.unlisted += 1
            return
        lines, lines_other = self._of(block, block_other)
        if block:
            before = self._lines[block.start - 1] if block.start else ""
        else:
            before = self._lines_other[block_other.start - 1] if block_other.start else ""
        place = COARSE if self._is_table else place_of(lines, lines_other, before, self._budget)
        self._findings.note(f"text[{self._numbers[block.start]}]", Kind.TEXT, *shown, rule, pattern=place)

    def _of(self, block: range, block_other: range) -> tuple[list[str], list[str]]:
        return self._lines[block.start : block.stop], self._lines_other[block_other.start : block_other.stop]


def _ended(lines: Sequence[str], lines_other: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Add a line end to both last lines if neither has one, so that they can match at other positions."""
    if not lines or not lines_other or lines[-1].endswith(_LINE_ENDS) or lines_other[-1].endswith(_LINE_ENDS):
        return lines, lines_other
    end = lines[0][len(lines[0].rstrip("\r\n")) :] or "\n"
    return [*lines[:-1], lines[-1] + end], [*lines_other[:-1], lines_other[-1] + end]


def _joined_ways(
    sides: tuple[list[str], list[str]], masks: Sequence[ValueRule], budget: Budget
) -> Iterator[tuple[Blocks, Blocks]]:
    """Yield the lines of both sides, joined where matches span lines: for all such masks, then for fewer masks.

    More masks join more lines. Every choice is tried, so that an additional mask never uncovers a difference.
    """
    spans = [tuple(_spanned(lines, mask, budget) for lines in sides) for mask in masks]
    spans = [both for both in spans if any(both)]
    sizes = range(len(spans), 0, -1) if len(spans) <= _MOST_SPANNING else (len(spans), 1)
    for size in sizes:
        for chosen in combinations(spans, size):
            budget.spend(sum(map(len, sides)))
            left, right = (
                _joined(lines, {index for both in chosen for index in both[side]}) for side, lines in enumerate(sides)
            )
            yield left, right


def _spanned(lines: Sequence[str], rule: ValueRule, budget: Budget) -> set[int]:
    """Return the lines whose line end is part of a match, so that the next line continues them."""
    if rule.mask is None:
        return set()
    text = "".join(lines)
    budget.spend(search_units(len(text)) + len(lines))
    ends = list(accumulate(len(line.encode("utf-8", "surrogatepass")) for line in lines))
    found: set[int] = set()
    for start, stop in rule.mask.spans(text, budget.spend):
        found.update(range(bisect_right(ends, start), bisect_right(ends, stop)))
    return found - {len(lines) - 1}


def _joined(lines: Sequence[str], spanned: set[int]) -> Blocks:
    blocks: list[str] = []
    starts: list[int] = []
    begin = 0
    for index in range(len(lines)):
        if index not in spanned:
            blocks.append("".join(lines[begin : index + 1]))
            starts.append(begin)
            begin = index + 1
    return blocks, [*starts, len(lines)]
