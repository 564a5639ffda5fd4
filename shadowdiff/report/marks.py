"""Redact a difference of two texts as the body is redacted that it was taken from.

In: what a difference shows of one side, with `[-…-]` or `{+…+}` around what changed, and that side's body.
Out: the same with each secret that it touches, even by a part, as the placeholder of the whole secret.
Holds: a secret split by marks, cut off at either end, or named on another line than the one shown, is found, since
the place is looked up in the body; marks stay in pairs.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from shadowdiff.report.shapes import Stretch, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MARKED: Final = re.compile(r"\[-(.*?)-\]|\{\+(.*?)\+\}", re.DOTALL)
_CLOSINGS: Final = {"[-": "-]", "{+": "+}", "": ""}
_PLACES: Final = 8
_WINDOW_CHARS: Final = 200
"""Of a line too long to be read by word, a difference shows no more than this, beginning anywhere in it."""


class _Redactor(Protocol):
    def secrets(self, text: str, media_type: str) -> list[Stretch]: ...
    def placeholder(self, one: Stretch) -> str: ...
    def secret(self, text: str) -> str: ...


class SideText:
    """A side's body as text, read and searched when it is first asked for."""

    def __init__(self, read: Callable[[], tuple[str, bool]], media_type: str, redactor: _Redactor) -> None:
        self.media_type = media_type
        self._read = read
        self._redactor = redactor

    @cached_property
    def _text(self) -> tuple[str, bool]:
        return self._read()

    @property
    def text(self) -> str:
        """The text, up to a bound."""
        return self._text[0]

    @property
    def is_cut(self) -> bool:
        """Whether more text follows."""
        return self._text[1]

    @cached_property
    def secrets(self) -> list[Stretch]:
        """Where secrets stand."""
        return self._redactor.secrets(self.text, self.media_type)

    def touched(self, part: str) -> list[Stretch] | None:
        """Return the secrets that a part of the body touches, by their place in it; None where it is not found."""
        at, found = self.text.find(part), list[Stretch]()
        if at < 0:
            return None
        for _ in range(_PLACES):
            for one in _over(self.secrets, at, at + len(part)):
                start, end = max(one.start - at, 0), min(one.end - at, len(part))
                found.append(Stretch(start, end, one.says, one.quote))
            at = self.text.find(part, at + max(1, len(part)))
            if at < 0:
                break
        return merged(part, found)


Sides = tuple[SideText | None, SideText | None]
NO_SIDES: Final[Sides] = (None, None)


def redact_marked(value: str, side: SideText | None, redactor: _Redactor) -> str:
    """Return what a difference shows of one side of a text, redacted."""
    for segments in dict.fromkeys((((value, ""),), _segments(value))):
        plain = "".join(text for text, _ in segments)
        more = "…" if plain.endswith("…") else ""
        found = side.touched(plain.removesuffix("…") if more else plain) if side else None
        if found is not None:
            return _rebuilt(segments, plain, found, redactor)
    segments = _segments(value)
    plain = "".join(text for text, _ in segments)
    if side and side.is_cut and len(plain) <= _WINDOW_CHARS and not plain.endswith("\n"):
        return redactor.secret(value)
    return _rebuilt(segments, plain, redactor.secrets(plain, side.media_type if side else ""), redactor)


def _segments(value: str) -> tuple[tuple[str, str], ...]:
    """Return the parts of a marked text, each with the mark that opens it; an empty mark is none."""
    parts: list[tuple[str, str]] = []
    kept = 0
    for found in _MARKED.finditer(value):
        parts += (value[kept : found.start()], ""), (found[1] if found[2] is None else found[2], found[0][:2])
        kept = found.end()
    return (*parts, (value[kept:], ""))


def _over(secrets: Sequence[Stretch], start: int, end: int) -> list[Stretch]:
    """Return the stretches that overlap a range."""
    first = bisect_left(secrets, start, key=lambda one: one.end - 1)
    out: list[Stretch] = []
    for one in secrets[first:]:
        if one.start >= end:
            break
        out.append(one)
    return out


def _rebuilt(segments: Sequence[tuple[str, str]], plain: str, secrets: Sequence[Stretch], redactor: _Redactor) -> str:
    """Return the parts put together again, each secret whole, and marked where any part of it was."""
    if not secrets:
        return "".join(f"{mark}{text}{_CLOSINGS[mark]}" for text, mark in segments)
    out: list[tuple[str, str]] = []
    at, left = 0, list(secrets)
    for text, mark in segments:
        end = at + len(text)
        here = at
        while left and left[0].start < end:
            one = left[0]
            if one.start >= at:
                out += (plain[here : one.start], mark), (redactor.placeholder(one), mark)
            elif mark and out[-1][1] == "":
                out[-1] = (out[-1][0], mark)
            here = min(one.end, end)
            if one.end > end:
                break
            left.pop(0)
        out.append((plain[here:end], mark))
        at = end
    return _joined(out)


def _joined(parts: Sequence[tuple[str, str]]) -> str:
    whole, run, under = "", "", ""
    for text, mark in (*parts, ("", "end")):
        if mark == "end" or (text and mark != under):
            whole += f"{under}{run}{_CLOSINGS[under]}" if run else ""
            run, under = "", mark
        run += text
    return whole
