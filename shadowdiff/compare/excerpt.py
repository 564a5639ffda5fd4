"""Show the changes between two texts or byte strings: word by word, or around the first change if they are long."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.sequence import mirrored_common
from shadowdiff.compare.value_rules import search_units

if TYPE_CHECKING:
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.kinds.kind import ValueRule

MAX_LINE_CHARS: Final = 4000
_WORD: Final = re.compile(r"\w+|\s+|[^\w\s]")
_EXCERPT_CHARS: Final = 200
BEFORE_CHANGE_CHARS: Final = 40
_SHOWN_BYTES: Final = 16
_MASKED: Final = "\0"
"""The token of a text that a mask replaces."""
Spans = Sequence[tuple[int, int]]
"""Stretches of a text that masks replace, in characters and in order."""
Parts = list[tuple[str, str | None]]
"""The words of a line. Each text that a mask replaces is one part, with its token."""


def words(line: str, against: str, budget: Budget, masks: Sequence[ValueRule], chars: int) -> tuple[str, str]:
    """Return both lines with their changes marked, except text that masks replace, because rules cover it.

    chars: longer lines begin shortly before their first change.
    """
    spans, spans_other = _spans(line, masks, budget), _spans(against, masks, budget)
    if max(len(line), len(against)) > MAX_LINE_CHARS:
        begins = [max(0, start - BEFORE_CHANGE_CHARS) for start in _first_change((line, spans), (against, spans_other))]
        return line[begins[0] :][:_EXCERPT_CHARS], against[begins[1] :][:_EXCERPT_CHARS]
    budget.spend((len(line) + len(against)) // 8)
    parts, parts_other = _parts(line, spans), _parts(against, spans_other)
    tokens, tokens_other = ([text if token is None else token for text, token in side] for side in (parts, parts_other))
    matches = mirrored_common(tokens, tokens_other, budget)
    unchanged = next((at for at, match in enumerate(matches) if match != (at, at)), len(matches))
    return (
        _marked(parts, [index for index, _ in matches], ("[-", "-]"), unchanged, chars),
        _marked(parts_other, [against for _, against in matches], ("{+", "+}"), unchanged, chars),
    )


def _parts(line: str, spans: Spans) -> Parts:
    parts: Parts = []
    at = 0
    for start, stop in [*spans, (len(line), len(line))]:
        parts += ((word, None) for word in _WORD.findall(line, at, start))
        if stop > start:
            parts.append((line[start:stop], _MASKED))
        at = stop
    return parts


def _spans(line: str, masks: Sequence[ValueRule], budget: Budget) -> Spans:
    """Return the spans where masks match, each span once."""
    found: list[tuple[int, int]] = []
    for mask in masks:
        if mask.mask is not None:
            budget.spend(search_units(len(line)))
            found += mask.mask.spans(line, budget.spend)
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged if line.isascii() else _in_characters(line, merged)


def _in_characters(line: str, spans: Spans) -> Spans:
    """Convert spans in bytes to spans in characters."""
    text = line.encode("utf-8", "surrogatepass")
    out: list[tuple[int, int]] = []
    at = chars = 0
    for start, stop in spans:
        begin = chars + len(text[at:start].decode("utf-8", "surrogatepass"))
        chars = begin + len(text[start:stop].decode("utf-8", "surrogatepass"))
        out.append((begin, chars))
        at = stop
    return out


def _marked(parts: Parts, kept: Sequence[int], marks: tuple[str, str], unchanged: int, chars: int) -> str:
    """Return the line with its changes in marks; a long line begins shortly before the first change."""
    opening, closing = marks
    out: list[str] = []
    for before, here in pairwise([-1, *kept, len(parts)]):
        if changed := "".join(text for text, _ in parts[before + 1 : here]):
            out.append(f"{opening}{changed}{closing}")
        out += (text for text, _ in parts[here : here + 1])
    shown = "".join(out)
    return shown if len(shown) <= chars else _cut(shown, sum(len(text) for text, _ in parts[:unchanged]))


def from_change(one: str, other: str, masks: Sequence[ValueRule], budget: Budget) -> tuple[str, str]:
    """Return an ellipsis and both texts from shortly before the first change that masks do not cover."""
    starts = _first_change((one, _spans(one, masks, budget)), (other, _spans(other, masks, budget)))
    return _cut(one, starts[0]), _cut(other, starts[1])


def _cut(text: str, change: int) -> str:
    begin = change - BEFORE_CHANGE_CHARS
    return text if begin <= BEFORE_CHANGE_CHARS else f"…{text[begin:]}"


def _first_change(one: tuple[str, Spans], other: tuple[str, Spans]) -> tuple[int, int]:
    """Return the position, on each side, of the first change that masks do not cover."""
    form, form_other = _hidden(*one), _hidden(*other)
    start = agreeing(form, form_other)
    if start == len(form) == len(form_other):  # texts are equal under single masks, not in sequence
        start = agreeing(one[0], other[0])
        return start, start
    return _place_of(start, one[1]), _place_of(start, other[1])


def _hidden(line: str, spans: Spans) -> str:
    ends = [0, *(stop for _, stop in spans)]
    starts = [*(start for start, _ in spans), len(line)]
    return _MASKED.join(line[end:start] for end, start in zip(ends, starts, strict=True))


def _place_of(place: int, spans: Spans) -> int:
    """Return the position in the line of a position in its masked form."""
    for start, stop in spans:
        if place <= start:
            break
        place += stop - start - 1
    return place


def around_change(one: str, other: str, chars: int, *, between_words: bool = False) -> tuple[str, str]:
    """Return two long texts from shortly before the first difference.

    between_words: begin after a space, so that a later search still finds secrets whole.
    """
    begin = agreeing(one, other) - BEFORE_CHANGE_CHARS
    begin = min(begin, min(len(one), len(other)) - chars + 3)  # use all characters; `"…"` needs at least 3
    if between_words:
        begin = one.rfind(" ", 0, max(0, begin)) + 1
    return (one, other) if begin < chars // 4 else (f"…{one[begin:]}", f"…{other[begin:]}")


def bounded(text: str, chars: int) -> str:
    """Return at most `chars` characters of the text, with an ellipsis if it is cut."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def changed_bytes(one: bytes, other: bytes) -> tuple[int, str, str]:
    """Return the position of the first differing byte, and both sides' bytes from it to the last differing byte."""
    start = agreeing(one, other)
    rest = min(len(one), len(other)) - start
    tail, tail_other = one[len(one) - rest :][::-1], other[len(other) - rest :][::-1]
    end = agreeing(tail, tail_other)
    return start, _shown(one[start : len(one) - end]), _shown(other[start : len(other) - end])


def _shown(part: bytes) -> str:
    more = "…" if len(part) > _SHOWN_BYTES else ""
    return f"{byte_count(len(part))}: {part[:_SHOWN_BYTES].hex(' ')}{more}" if part else "0 bytes"


def byte_count(count: int) -> str:
    """Format a number of bytes."""
    return f"{count} byte" if count == 1 else f"{count} bytes"


def agreeing(one: bytes | str, other: bytes | str) -> int:
    """Count the equal bytes or characters at the start, by binary search."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
