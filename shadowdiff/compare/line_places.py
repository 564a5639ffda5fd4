"""Name the places of lines in a text by template: the line with numbers, ids, times, quoted strings and hosts masked.

A line keeps its place wherever it stands, so an inserted line moves no other place. If v2's line
has other words, they are `{text}`; if it is another line, the place has both templates. So a known difference in the
numbers of a line never hides other words. A place that is too long ends with a digest of the whole line.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.sequence import mirrored_common
from shadowdiff.rules.member_names import name_class
from shadowdiff.rules.place import COARSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare.work import Budget

PLACE_CHARS: Final = 80
"""The length of the text in a place."""
MAX_CHARS: Final = 16_384
"""Longer lines have the coarse place, which is never noise."""
_USUAL_CHARS: Final = 256
_DIGEST_CHARS: Final = 8
_MAX_COMMON: Final = 4000
_MAX_QUOTED: Final = 32
_MIN_LONG_WORD: Final = 20
_LINE_BREAK: Final = "⏎"
_URL: Final = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,9}+://[^\s/?#\"'<>]*+")
_QUOTED: Final = re.compile(r"\"[^\"\r\n]*+\"|(?<![\w'])'[^'\r\n]*+'(?!\w)")
_EMAIL: Final = re.compile(r"(?<![^\s@<>\"'=,;:()])[^\s@<>\"'=,;:()]{1,64}+@(?:[A-Za-z0-9-]++\.)++[A-Za-z]{2,24}+")
_DATE: Final = re.compile(
    r"(?:[A-Z][a-z]{2},? )?+\b(?:\d{4}-\d\d-\d\d|\d{1,2}[ /-](?:[A-Z][a-z]{2}|\d\d)[ /-]\d{4})(?!\d)"
    r"(?:[T :]\d\d:\d\d(?::\d\d(?:[.,]\d++)?+)?+)?+(?:Z\b| ?[+-]\d\d:?\d\d\b| (?:GMT|UTC)\b)?+"
)
_CLOCK: Final = re.compile(r"\b\d{1,2}:\d\d(?::\d\d(?:[.,]\d++)?+)?+(?: ?[AaPp][Mm]\b)?+")
_WORD: Final = re.compile(r"[A-Za-z0-9_-]++")
_LONG_WORD: Final = re.compile(r"(?<![A-Za-z_-])[A-Za-z_-]{20,}+")
_DIGIT: Final = re.compile(r"[0-9]")
_MASK_NAMES: Final = "url|text|email|time|number|uuid|date|hex|token|id"
_LOOKALIKE: Final = re.compile(r"\{(" + _MASK_NAMES + r")\}")
"""Text that looks like a mask, for example because v2 did not fill in a template."""
_MEASURE: Final = re.compile(r"[0-9]+(?:[eE][+-]?[0-9]+)?([A-Za-z]{0,3})")
"""A number with a unit, such as `3ms`."""
_NUMBERED: Final = re.compile(r"([A-Za-z]{1,3})[0-9]{1,3}")
"""A short name with a number, such as `h1`."""
_PARTS: Final = re.compile(r"([_-]+)")
_NUMBERS: Final = re.compile(r"\{number\}(?:[.,]\{number\})+")
_TOKEN: Final = re.compile(r"\s*(?:</?[A-Za-z][^<>]*>|\{[a-z]+\}|\w+|[^\w\s])")
_IS_WORD: Final = re.compile(r"\s*\w")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAMED_BEFORE: Final = re.compile(r"[:=]\s*\Z")
"""The end of a line that names the next line."""
_NO_WORD: Final = re.compile(r"(?:\{[a-z]+\}|</?[A-Za-z][^<>]*>|[^A-Za-z\u0080-\U0010ffff{<]|[{<])*+")
"""A template without words, such as a number in a table."""


def place_of(lines: Sequence[str], lines_other: Sequence[str], before: str, budget: Budget) -> str:
    """Return the place of a difference between lines of v1 and lines of v2; one of them may be empty.

    before: the line before them, which the place also has if the first line has no words, or if it names the first
        line: then this may be a secret, and its words are left out.
    """
    chars = sum(map(len, lines)) + sum(map(len, lines_other)) + len(before)
    if chars > MAX_CHARS:
        return COARSE
    budget.spend(template_units(chars))
    is_named = _NAMED_BEFORE.search(before) is not None
    one, other = _joined(lines, is_named=is_named), _joined(lines_other, is_named=is_named)
    text = one or other
    if lines and lines_other and one != other:
        same_line = _common(one, other, budget) if len(lines) == len(lines_other) == 1 else None
        text = same_line or f"{one} → {other}"
    if _NO_WORD.fullmatch(text) and not _NO_WORD.fullmatch(context := template(before)):
        text = f"{context}{_LINE_BREAK}{text}"
    return "text[\\*]" if text == "*" else f"text[{_bounded(text)}]"


def _joined(lines: Sequence[str], *, is_named: bool) -> str:
    templates = list(map(template, lines))
    if is_named and templates and not _NO_WORD.fullmatch(templates[0]):
        templates[0] = "{text}"
    return _LINE_BREAK.join(templates)


def _bounded(text: str) -> str:
    if len(text) <= PLACE_CHARS:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_CHARS // 2).hexdigest()
    return f"{text[: PLACE_CHARS - _DIGEST_CHARS - 1]}…{digest}"


def _common(one: str, other: str, budget: Budget) -> str | None:
    """Return the common template of a line with other words, which are `{text}`; None for two different lines."""
    if max(len(one), len(other)) > _MAX_COMMON:
        return None
    tokens, tokens_other = _TOKEN.findall(one), _TOKEN.findall(other)
    matches = mirrored_common(tokens, tokens_other, budget)
    words = sum(_IS_WORD.match(tokens[index]) is not None for index, _ in matches)
    if not words or 2 * words < max(sum(map(bool, map(_IS_WORD.match, side))) for side in (tokens, tokens_other)):
        return None
    out: list[str] = []
    before = before_other = -1
    for index, against in [*matches, (len(tokens), len(tokens_other))]:
        apart = [*tokens[before + 1 : index], *tokens_other[before_other + 1 : against]]
        if apart:
            out.append(" {text}" if any(word[0] == " " for word in apart) else "{text}")
        out += tokens[index : index + 1]
        before, before_other = index, against
    return "".join(out)


def template_units(chars: int) -> int:
    """Return the work of the templates of this number of characters."""
    return 1 + chars


def template(line: str) -> str:
    """Return a line without the parts that usually differ between responses, and without blanks around it."""
    return _usual_template(line) if len(line) <= _USUAL_CHARS else _template(line)


def _template(line: str) -> str:
    text = _LOOKALIKE.sub(r"(\1)", line) if "{" in line else line
    if "://" in text:
        text = _URL.sub("{url}", text)
    if '"' in text or "'" in text:
        text = _QUOTED.sub(_mask_quoted, text)
    if "@" in text:
        text = _EMAIL.sub("{email}", text)
    if _DIGIT.search(text):
        text = _CLOCK.sub("{time}", _DATE.sub("{time}", text)) if "-" in text or "/" in text or ":" in text else text
        text = _NUMBERS.sub("{number}", _WORD.sub(_mask_word, text))
    elif len(text) >= _MIN_LONG_WORD:
        text = _LONG_WORD.sub(_mask_word, text)
    text = " ".join(text.split())
    return text if text.isprintable() else _UNPRINTABLE.sub("", text)


_usual_template: Final = lru_cache(maxsize=2048)(_template)


def _mask_quoted(found: re.Match[str]) -> str:
    text = found[0]
    return "{text}" if len(text) > _MAX_QUOTED or " " in text else text


def _mask_word(found: re.Match[str]) -> str:
    word = found[0]
    if word.isdecimal():
        return "{number}"
    if len(word) < _MIN_LONG_WORD and not _DIGIT.search(word):
        return word
    return _masked(word) if len(word) <= _USUAL_CHARS else _mask_long(word)


def _mask_long(word: str) -> str:
    found = name_class(word)
    if found:
        return "{number}" if found == "{id}" else found
    return "".join(map(_mask_part, _PARTS.split(word)))


_masked: Final = lru_cache(maxsize=4096)(_mask_long)


def _mask_part(part: str) -> str:
    if measure := _MEASURE.fullmatch(part):
        return f"{{number}}{measure[1]}"
    if numbered := _NUMBERED.fullmatch(part):
        return f"{numbered[1]}{{number}}"
    return "{id}" if _DIGIT.search(part) else part
