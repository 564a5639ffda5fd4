"""Redact the excerpts in a text difference in the same way as the whole body.

An excerpt has `[-…-]` or `{+…+}` around changes. It is looked up in the body, to find secrets that marks split, that
are cut off, or whose name is on another line. A part of a secret becomes the placeholder of the whole secret.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cached_property
from html import unescape
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Protocol

from shadowdiff.report.body_text import DecodedBody, decode_body, media_type, with_type
from shadowdiff.report.secret_span import SecretSpan, merge_spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model import Observation

_MARKED: Final = re.compile(r"\[-(.*?)-\]|\{\+(.*?)\+\}", re.DOTALL)
_CLOSINGS: Final = {"[-": "-]", "{+": "+}", "": ""}
_PART_CHARS: Final = 6
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
"""The words of a secret that a place must not have."""
_CHARS_PER_UNIT: Final = 256
"""The number of characters of a body that one work unit allows a search for an excerpt to read."""
_SEARCHED_BYTES: Final = 256 * 1024
_PLACES: Final = 8
_WINDOW_CHARS: Final = 200
"""The longest excerpt of a line that is too long to compare by words; it may start anywhere in the line."""


class _Redactor(Protocol):
    def secrets(self, text: str, media_type: str) -> list[SecretSpan]: ...
    def placeholder(self, one: SecretSpan) -> str: ...
    def secret(self, text: str) -> str: ...
    def spend(self, units: int) -> None: ...


class SideText:
    """A side's body as text; it is decoded and searched on first use.  named: a type that replaces the Content-Type."""

    def __init__(self, observation: Observation, redactor: _Redactor, named: bytes = b"") -> None:
        self._headers = with_type(observation.headers, named)
        self.media_type = media_type(self._headers)
        self._observation = observation
        self._redactor = redactor

    @cached_property
    def body(self) -> DecodedBody:
        """The body, up to a limit."""
        return decode_body(self._observation.body, self._headers, _SEARCHED_BYTES)

    @cached_property
    def secrets(self) -> list[SecretSpan]:
        """The secrets in the text."""
        return self._redactor.secrets(self.body.text, self.media_type)

    def hides(self, value: str) -> bool:
        """Return whether a value is a secret of the body, or a long part of a secret."""
        known, every = self._secret_texts
        self._redactor.spend(1 + len(every) // _CHARS_PER_UNIT)
        return value in known or (len(value) >= _PART_CHARS and value in every)

    def shares_secret(self, text: str) -> bool:
        """Return whether a text contains a secret of the body, or is a part of one, after entities are decoded."""
        self._redactor.spend(1 + len(text) * len(self._decoded_secrets) // _CHARS_PER_UNIT)
        return any(one in text or (len(text) >= _PART_CHARS and text in one) for one in self._decoded_secrets)

    def shares_word(self, place: str) -> bool:
        """Return whether a place has a word of a secret of the body."""
        words = self._words_of_secrets
        self._redactor.spend(1 + len(place) // _CHARS_PER_UNIT)
        return bool(words) and not words.isdisjoint(_WORD.findall(place))

    @cached_property
    def _words_of_secrets(self) -> frozenset[str]:
        texts = [text for one in self.secrets for text in (one.text, unescape(one.text))]
        self._redactor.spend(1 + sum(map(len, texts)) // _CHARS_PER_UNIT)
        return frozenset(word for text in texts for word in _WORD.findall(text))

    @cached_property
    def _decoded_secrets(self) -> frozenset[str]:
        return frozenset(" ".join(unescape(one.text).split()) for one in self.secrets) - {""}

    @cached_property
    def _secret_texts(self) -> tuple[frozenset[str], str]:
        texts = frozenset(one.text for one in self.secrets)
        return texts, "\0".join(texts)

    def overlapping_secrets(self, excerpt: str) -> list[SecretSpan] | None:
        """Return the secrets that overlap an excerpt (possibly cut at either end); None if the excerpt is not found."""
        for start in (0, 1) if excerpt.startswith("…") else (0,):
            for part in dict.fromkeys((excerpt[start:].removesuffix("…"), excerpt[start:])):
                found = self._overlapping(part)
                if found is not None:
                    return [one._replace(start=one.start + start, end=one.end + start) for one in found]
        return None

    def _overlapping(self, part: str) -> list[SecretSpan] | None:
        text, spend, found = self.body.text, self._redactor.spend, list[SecretSpan]()
        spend(1 + len(text) // _CHARS_PER_UNIT)
        at = text.find(part)
        if at < 0:
            return None
        for _ in range(_PLACES):
            end = at + len(part)
            for one in self.secrets[bisect_left(self.secrets, at, key=lambda one: one.end - 1) :]:
                if one.start >= end:
                    break
                spend(1)
                found.append(SecretSpan(max(one.start, at) - at, min(one.end, end) - at, one.text, one.quote))
            spend(1 + len(text) // _CHARS_PER_UNIT)
            at = text.find(part, max(at + 1, end))
            if at < 0:
                break
        return merge_spans(part, found)


Sides = tuple[SideText | None, SideText | None]
NO_SIDES: Final[Sides] = (None, None)


def redact_diff_text(value: str, side: SideText | None, redactor: _Redactor) -> str:
    """Redact the excerpt of one side."""
    segments = _segments(value)
    plain = "".join(text for text, _ in segments)
    for parts, text in dict.fromkeys(((((value, ""),), value), (segments, plain))):
        found = side.overlapping_secrets(text) if side else None
        if found is not None:
            return _rebuilt(parts, text, found, redactor)
    if side and side.body.truncated and len(plain) <= _WINDOW_CHARS and not plain.endswith("\n"):
        return redactor.secret(value)
    return _rebuilt(segments, plain, redactor.secrets(plain, side.media_type if side else ""), redactor)


def redact_html_text(value: str, side: SideText | None, redactor: _Redactor) -> str:
    """Redact a text or attribute of a page, without entities and extra blanks, so the page may spell it differently.

    If the page does not contain it as it is, a secret of the page hides all of it.
    """
    plain = "".join(text for text, _ in _segments(value))
    if side is not None and side.overlapping_secrets(plain) is None and side.shares_secret(plain):
        return redactor.secret(plain)
    return redact_diff_text(value, side, redactor)


def _segments(value: str) -> tuple[tuple[str, str], ...]:
    """Return the parts of a marked text, each with its opening mark or an empty mark."""
    parts: list[tuple[str, str]] = []
    kept = 0
    for found in _MARKED.finditer(value):
        parts += (value[kept : found.start()], ""), (found[1] if found[2] is None else found[2], found[0][:2])
        kept = found.end()
    return (*parts, (value[kept:], ""))


def _rebuilt(segments: Sequence[tuple[str, str]], plain: str, secrets: list[SecretSpan], redactor: _Redactor) -> str:
    """Join the parts; each secret becomes one placeholder, which is marked if any part of the secret was marked."""
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
    runs = groupby((part for part in out if part[0]), key=itemgetter(1))
    return "".join(f"{mark}{''.join(text for text, _ in run)}{_CLOSINGS[mark]}" for mark, run in runs)
