"""Find numbers with a unit, such as `took 3.2 ms`, that are the only difference of a line of text.

A mask covers only the number between the same words, so that other changes of the line still count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shadowdiff.model import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.model import Difference
    from shadowdiff.report import Sample

MAX_LINE_CHARS: Final = 2000
_MARKS: Final = re.compile(r"\[-|-\]|\{\+|\+\}")
"""The marks of changed words in the text of a difference."""
_NUMBER: Final = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_WORDS_BEFORE: Final = re.compile(r"[^0-9\n]{0,24}\Z")
_UNIT: Final = re.compile(r"\s?(ns|us|µs|ms|msecs?|milliseconds?|s|secs?|seconds?|bytes|[kKMG]i?B)\b")
_DURATIONS: Final = frozenset("nums µ")
_SPECIAL: Final = re.compile(r"([\\.+*?()|\[\]{}^$])")


class NumberInText(NamedTuple):
    """A number in a text: the words before it, and its unit."""

    before: str
    unit: str

    @property
    def is_duration(self) -> bool:
        """Whether the unit is of time."""
        return self.unit.strip()[:1] in _DURATIONS

    @property
    def rule(self) -> dict[str, Any]:
        """The rule that masks the number."""
        pattern = f"{_escape(self.before)}[0-9]+(?:[.,][0-9]+)*{_escape(self.unit)}"
        return {"mask": {"path": "text", "pattern": pattern}}


def numbers_in_text(samples: Sequence[Sample]) -> dict[NumberInText, list[tuple[Sample, Difference]]]:
    """Return the numbers with a unit that differ between lines that are equal otherwise, with their samples."""
    found: defaultdict[NumberInText, list[tuple[Sample, Difference]]] = defaultdict(list)
    for sample in samples:
        for difference in sample.differences:
            if difference.rule is None and difference.kind is Kind.TEXT:
                for number in set(_numbers(difference)):
                    found[number].append((sample, difference))
    return found


def _numbers(difference: Difference) -> Iterator[NumberInText]:
    one, other = (_MARKS.sub("", side or "") for side in (difference.primary, difference.candidate))
    if max(len(one), len(other)) > MAX_LINE_CHARS or _NUMBER.sub("0", one) != _NUMBER.sub("0", other):
        return
    for number, changed in zip(_NUMBER.finditer(one), _NUMBER.finditer(other), strict=True):
        unit = _UNIT.match(one, number.end())
        if number[0] != changed[0] and unit is not None:
            before = _WORDS_BEFORE.search(one[: number.start()])
            yield NumberInText(before[0] if before else "", unit[0])


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
