"""Where two texts differ: by line, and by word inside a line.

In: both texts, and what rules say of text.  Out: `text` differences, one per run of lines that differ.
Holds: a difference's path is `text[n]`, n the first line of v1 concerned, from 0; what changed inside a single line
stands between `[-` and `-]` in v1's and `{+` and `+}` in v2's.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.leaves import covers
from shadowdiff.compare.sequence import common
from shadowdiff.model import Kind
from shadowdiff.rules.rule import RuleKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.sequence import Match
    from shadowdiff.rules.compiled import Effect

_WORD: Final = re.compile(r"\w+|\s+|[^\w\s]")
_MAX_LINE_CHARS: Final = 4000
_MAX_MASKED_LINES: Final = 5000

Run = tuple[int, int, int, int]
"""Lines from, to (v1), from, to (v2)."""


def compare_text(one: str, other: str, effect: Effect, findings: Findings, whole: str | None) -> None:
    """Note where two texts differ; whole: the rule that covers the body, if one does."""
    rule = whole or next((leaf.label for leaf in effect.leaves if covers(leaf, one, other)), None)
    lines, lines_other = one.splitlines(keepends=True), other.splitlines(keepends=True)
    if rule is None and effect.unordered and sorted(lines) == sorted(lines_other):
        findings.place("text", Kind.ORDER, one, other, effect.unordered)
        return
    forms, forms_other = _forms(lines, effect), _forms(lines_other, effect)
    if rule is None and lines != lines_other and forms == forms_other:
        rule = next(leaf.label for leaf in effect.leaves)
    found = list(_runs(forms, forms_other)) or list(_runs(lines, lines_other))
    for start, stop, start_other, stop_other in found:
        _note(lines[start:stop], lines_other[start_other:stop_other], start, rule, findings)


def _forms(lines: Sequence[str], effect: Effect) -> list[bytes] | list[str]:
    """Return the lines as masks leave them, so that only what no mask covers is told apart."""
    masks = [leaf.mask for leaf in effect.leaves if leaf.kind is RuleKind.MASK and leaf.mask]
    if not masks or len(lines) > _MAX_MASKED_LINES:
        return list(lines)
    forms: list[bytes] = []
    for line in lines:
        form = line.encode("utf-8", "surrogatepass")
        for mask in masks:
            form = mask.apply(form.decode("utf-8", "replace")) or form
        forms.append(form)
    return forms


def _runs(one: Sequence[str] | Sequence[bytes], other: Sequence[str] | Sequence[bytes]) -> Iterator[Run]:
    """Yield the runs of lines between what both have in common."""
    at = at_other = 0
    for index, against in [*trimmed_common(one, other), (len(one), len(other))]:
        if index > at or against > at_other:
            yield at, index, at_other, against
        at, at_other = index + 1, against + 1


def trimmed_common(one: Sequence[str] | Sequence[bytes], other: Sequence[str] | Sequence[bytes]) -> list[Match]:
    """Return the common lines, always searched from the same side, so that swapped sides mirror."""
    if (len(one), list(one)) > (len(other), list(other)):
        return [(index, against) for against, index in common(other, one)]
    return common(one, other)


def _note(lines: Sequence[str], lines_other: Sequence[str], start: int, rule: str | None, findings: Findings) -> None:
    if len(lines) == len(lines_other):
        room = max(0, findings.room(rule))
        for offset, (line, against) in enumerate(zip(lines[:room], lines_other, strict=False)):
            shown, shown_other = words(line, against)
            _place(start + offset, shown, shown_other, rule, findings)
        findings.unlisted += len(lines[room:])
        return
    _place(start, "".join(lines) if lines else None, "".join(lines_other) if lines_other else None, rule, findings)


def _place(line: int, one: str | None, other: str | None, rule: str | None, findings: Findings) -> None:
    findings.place(f"text[{line}]", Kind.TEXT, one, other, rule, pattern="text[*]")


def words(line: str, against: str) -> tuple[str, str]:
    """Return both lines with what changed inside them marked."""
    if max(len(line), len(against)) > _MAX_LINE_CHARS:
        return _around(line, against)
    parts, parts_other = _WORD.findall(line), _WORD.findall(against)
    matches = trimmed_common(parts, parts_other)
    return (
        _marked(parts, [index for index, _ in matches], "[-", "-]"),
        _marked(parts_other, [index for _, index in matches], "{+", "+}"),
    )


def _marked(parts: Sequence[str], kept: Sequence[int], opening: str, closing: str) -> str:
    out: list[str] = []
    for before, here in pairwise([-1, *kept, len(parts)]):
        changed = "".join(parts[before + 1 : here])
        if changed:
            out.append(f"{opening}{changed}{closing}")
        if here < len(parts):
            out.append(parts[here])
    return "".join(out)


def _around(line: str, against: str) -> tuple[str, str]:
    """Return what lies around the first change of a line too long to be read word by word."""
    start = next((i for i, (a, b) in enumerate(zip(line, against, strict=False)) if a != b), 0)
    start = start or min(len(line), len(against))
    begin = max(0, start - 40)
    return line[begin : begin + 200], against[begin : begin + 200]
