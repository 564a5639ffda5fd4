"""Find encoded parts of a text, decode one level, and map positions back to the text.

This module decodes escapes in quoted strings, percent-encoding, XML and HTML entities, and base64. Malformed encodings
stay unchanged. A decoded part is never longer than its source text, so the caller can limit the work.
"""

from __future__ import annotations

import base64
import re
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.report.secret_span import CHARS_PER_UNIT, SecretSpan, Spend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_NAMED: Final = {"quot": '"', "apos": "'", "lt": "<", "gt": ">", "amp": "&"}
_MAX_CODE: Final = 0x10FFFF

_BASE64: Final = re.compile(r"[0-9A-Za-z+/_-]{12,}+(?:\r?\n[0-9A-Za-z+/_-]{4,}+)*+={0,2}")
_BASE64_CHARS: Final = 12
_ANY_DIVIDER: Final = re.compile(r"[/+_\n-]")
_DIVIDERS: Final = tuple(map(re.compile, (r"\r?\n", "/", r"\+", r"[/+_-]|\r?\n")))
"""Base64 may contain a slash, and so may the path around it."""
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LINE_END: Final = re.compile(r"\r?\n")


class EncodedPart(NamedTuple):
    """A part of a text, after one level of decoding.

    decoded, sources: where each run of characters starts in `text` and in the source text; empty if positions cannot be
    mapped, as in base64. quotes: how to encode a quotation mark. hidden: where the hidden text starts if the part
    cannot be searched.
    """

    start: int
    end: int
    text: str
    decoded: array[int]
    sources: array[int]
    quotes: dict[int, str]
    hidden: int

    def outer(self, inner: SecretSpan, source: str) -> SecretSpan:
        """Convert a span of the decoded text to a span of the source text."""
        if not self.decoded:
            return self.whole(source)
        quote = inner.quote.translate(self.quotes)
        return SecretSpan(self._position(inner.start), self._position(inner.end), inner.text, quote)

    def whole(self, source: str) -> SecretSpan:
        """Return the whole part as one secret."""
        return SecretSpan(self.hidden, self.end, source[self.hidden : self.end])

    def _position(self, at: int) -> int:
        run = bisect_right(self.decoded, at) - 1
        return self.sources[run] + at - self.decoded[run] if at < len(self.text) else self.end


def _unescape(escape: re.Match[str]) -> tuple[str, list[int]]:
    decoded = chr(int(escape[1], 16)) if escape[1] else _CONTROLS.get(escape[2], escape[2])
    return decoded, [len(escape[0])]


def _unquote(run: re.Match[str]) -> tuple[str, list[int]]:
    if run[0][0] == "+":
        return " " * len(run[0]), [1] * len(run[0])
    octets = bytes.fromhex(run[0].replace("%", ""))
    try:
        decoded = octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1"), [3] * len(octets)
    return decoded, [3 * len(character.encode()) for character in decoded]


def _character(entity: re.Match[str]) -> tuple[str, list[int]]:
    code = int(entity[2]) if entity[2] else int(entity[3] or "0", 16)
    decoded = _NAMED[entity[1]] if entity[1] else chr(code) if code <= _MAX_CODE else "�"
    return decoded, [len(entity[0])]


class _Encoding(NamedTuple):
    """An encoding of characters.

    run: text (in the last group) that is decoded together if it contains `probe`. unit: encoded characters; `decode`
    returns them, and their widths in the source. quotes: encodes quotation marks. hidden_after: the text before a value
    that is hidden unread; None hides the whole run. cost: of a unit, in addition to one per character.
    """

    run: re.Pattern[str]
    probe: re.Pattern[str]
    unit: re.Pattern[str]
    decode: Callable[[re.Match[str]], tuple[str, list[int]]]
    quotes: dict[int, str]
    hidden_after: re.Pattern[str] | None = None
    cost: int = 1


_STRING: Final = _Encoding(
    re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|\\?\Z)', re.DOTALL),
    re.compile(r"\\"),
    re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL),
    _unescape,
    str.maketrans({"\\": "\\\\", '"': '\\"'}),
)
"""Quoted strings with escapes."""
_PERCENT: Final = _Encoding(
    re.compile(r"""[^\s"'<>&\\]++"""),
    re.compile(r"%[0-9A-Fa-f]{2}"),
    re.compile(r"(?:%[0-9A-Fa-f]{2})++|\++"),
    _unquote,
    str.maketrans({"%": "%25", "\\": "%5C", '"': "%22", "&": "%26", ";": "%3B"}),
    hidden_after=re.compile(r"[=?;#/]"),
    cost=2,
)
"""Words with percent-encoding; `+` is a space."""
_ENTITIES: Final = _Encoding(
    re.compile(r'(?:[^<>"\\]++|\\++(?!"))++'),
    re.compile(r"&(?:quot|apos|lt|gt|#|amp;(?:quot|apos|lt|gt|amp|#))"),
    re.compile(r"&(?:(quot|apos|lt|gt|amp)|#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6}));"),
    _character,
    str.maketrans({"&": "&amp;", '"': "&quot;"}),
)
"""Text and attribute values with entities. A lone `&amp;` separates parameters, which are found without decoding."""


def encoded_parts(text: str, spend: Spend) -> Iterator[EncodedPart]:
    """Yield every part of a text that can be decoded."""
    if "\\" in text and '"' in text:
        yield from _decoded_runs(_STRING, text, spend)
    if "%" in text:
        yield from _decoded_runs(_PERCENT, text, spend)
    if "&" in text and _ENTITIES.probe.search(text):
        yield from _decoded_runs(_ENTITIES, text, spend)
    yield from _base64(text, spend)


def _decoded_runs(encoding: _Encoding, text: str, spend: Spend) -> Iterator[EncodedPart]:
    runs, probe, units, decode, quotes, hidden_after, cost = encoding
    for run in runs.finditer(text):
        spend(1)
        start, end = run.span(run.lastindex or 0)
        first = probe.search(text, start, end)
        if first is None:
            continue
        at, length, parts = start, 0, list[str]()
        decoded, sources = array("I", [0]), array("I", [start])
        for unit in units.finditer(text, start, end):
            characters, widths = decode(unit)
            spend(cost + len(widths))
            if (begin := unit.start()) > at:
                parts.append(text[at:begin])
                length, at = length + begin - at, begin
            for width in widths:
                decoded.append(length)
                sources.append(at)
                length, at = length + 1, at + width
            decoded.append(length)
            sources.append(at)
            parts.append(characters)
        if parts:
            before = hidden_after.finditer(text, start, first.start()) if hidden_after else ()
            hidden = max((found.end() for found in before), default=start)
            whole = "".join([*parts, text[at:end]])
            yield EncodedPart(start, end, whole, decoded, sources, quotes, hidden)


def _base64(text: str, spend: Spend) -> Iterator[EncodedPart]:
    """Yield base64 parts that contain text. A secret hides the whole part: four letters encode three bytes."""
    for run in _BASE64.finditer(text):
        spend(3 + len(run[0]) // CHARS_PER_UNIT)
        decoded = _text_of(run[0])
        if decoded is not None:
            yield _opaque(*run.span(), decoded)
        elif dividers := len(_ANY_DIVIDER.findall(run[0])):
            spend(dividers)
            for start, end in _parts(text, *run.span()):
                spend(3)
                if (decoded := _text_of(text[start:end])) is not None:
                    yield _opaque(start, end, decoded)


def _opaque(start: int, end: int, decoded: str) -> EncodedPart:
    return EncodedPart(start, end, decoded, array("I"), array("I"), {}, start)


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts between possible separators in a run of base64 characters."""
    for divider in _DIVIDERS:
        at = start
        for found in divider.finditer(text, start, end):
            if found.start() - at >= _BASE64_CHARS:
                yield at, found.start()
            at = found.end()
        if at > start and end - at >= _BASE64_CHARS:
            yield at, end


def _text_of(run: str) -> str | None:
    """Decode base64; return None if the result is not text. Source: RFC 4648, sections 4 and 5; padding is optional."""
    plain = (_LINE_END.sub("", run) if "\n" in run else run).rstrip("=").replace("-", "+").replace("_", "/")
    return None if _decoded(plain[:64]) is None else _decoded(plain)


def _decoded(plain: str) -> str | None:
    plain = plain[:-1] if len(plain) % 4 == 1 else plain
    try:
        octets = base64.b64decode(plain + "=" * (-len(plain) % 4))
    except ValueError:
        return None
    try:
        decoded = octets.decode()
    except UnicodeDecodeError as error:  # the text ends in the middle of a character
        if error.start + 4 <= len(octets) or error.reason != "unexpected end of data":
            return None
        decoded = octets[: error.start].decode()
    return None if _UNPRINTABLE.search(decoded) else decoded
