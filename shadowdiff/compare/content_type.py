"""Parse Content-Type, and decode text in the charsets that it allows.

Source: RFC 9110 section 8.3.
"""

from __future__ import annotations

import re
from encodings.aliases import aliases
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TYPE_BYTES: Final = 1024
"""The rest of a longer Content-Type is ignored."""
_ESCAPED: Final = re.compile(r"\\(.?)", re.DOTALL)
_QUOTED_OR_SEPARATOR: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[;,]', re.DOTALL)

# Python also has codecs that are not web charsets; some need quadratic time (punycode). Python caches every codec
# name that it looks up. Therefore shadowdiff looks up charsets only in this list.
_CODECS: Final = frozenset({
    "ascii", "big5", "big5hkscs", "cp437", "cp850", "cp852", "cp866", "cp874", "cp932", "cp949", "cp950", "cp1250",
    "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "euc_jp", "euc_kr", "gb18030",
    "gb2312", "gbk", "iso2022_jp", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6", "iso8859_7",
    "iso8859_8", "iso8859_9", "iso8859_10", "iso8859_11", "iso8859_13", "iso8859_14", "iso8859_15", "iso8859_16",
    "koi8_r", "koi8_u", "latin_1", "mac_cyrillic", "mac_roman", "shift_jis", "tis_620", "utf_8", "utf_16",
    "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le",
})  # fmt: skip
_CODEC_NAMES: Final = {
    **{name: name for name in _CODECS},
    **{alias: codec for alias, codec in aliases.items() if codec in _CODECS},
    "windows_31j": "cp932",
    "windows_874": "cp874",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_sjis": "shift_jis",
}
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
_MAX_NAME_CHARS: Final = 40
_MARKS: Final = {
    "utf_16": ((b"\xff\xfe", "utf_16_le"), (b"\xfe\xff", "utf_16_be")),
    "utf_32": ((b"\xff\xfe\x00\x00", "utf_32_le"), (b"\x00\x00\xfe\xff", "utf_32_be")),
}
BYTE_ORDER_MARK: Final = "\ufeff"
BOM: Final = BYTE_ORDER_MARK.encode()


class BrokenBodyError(ValueError):
    """A body does not conform to its Content-Type; the message says why."""


class MessageType(NamedTuple):
    """The full name of a message type, and whether a method sends a stream of such messages."""

    name: str
    streams: bool = False


class Media(msgspec.Struct, frozen=True):
    """A media type in lower case, with its parameters."""

    name: str
    charset: str = ""
    boundary: str = ""
    parameters: tuple[tuple[str, str], ...] = ()


def media_of(content_type: bytes) -> Media:
    """Return the media type that a Content-Type names."""
    return _media_of(content_type[:MAX_TYPE_BYTES])


@lru_cache(maxsize=1024)
def _media_of(content_type: bytes) -> Media:
    head, *rest = split_parameters(content_type.decode("latin-1"))
    name = head.strip().lower()
    named = (part.partition("=") for part in rest if part.strip())
    parameters = tuple((name.strip().lower(), unquote(value.strip())) for name, _, value in named)
    found = dict(reversed(parameters))
    return Media(name, found.get("charset", "").lower(), found.get("boundary", ""), parameters)


def unquote(text: str) -> str:
    """Return the content of a quoted string; return other text unchanged."""
    return _ESCAPED.sub(r"\1", text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text


def split_parameters(text: str, separator: str = ";") -> list[str]:
    """Split at a separator outside quoted strings."""
    if '"' not in text:
        return text.split(separator)
    parts: list[str] = []
    start = 0
    for found in _QUOTED_OR_SEPARATOR.finditer(text):
        if found[0] == separator:
            parts.append(text[start : found.start()])
            start = found.end()
    return [*parts, text[start:]]


def list_members(lines: Sequence[str]) -> list[str]:
    """Return the members of a list from one or more lines of a field."""
    return [member.strip(" \t") for line in lines for member in split_parameters(line, ",")]


def codec_of(charset: str) -> str | None:
    """Return Python's codec name for a charset; None if it is not in the allow-list. The default is UTF-8."""
    if not charset:
        return "utf_8"
    if len(charset) > _MAX_NAME_CHARS:
        return None
    return _CODEC_NAMES.get(_SEPARATORS.sub("_", charset.lower()))


def decode(body: bytes, charset: str) -> str:
    """Return the text, with its byte order mark. Raises: UnicodeError, or LookupError if the charset is unknown."""
    codec = codec_of(charset)
    if codec is None:
        raise LookupError(f"charset {charset[:_MAX_NAME_CHARS]!r} is unknown")
    if codec in _MARKS:
        codec = next((ordered for mark, ordered in _MARKS[codec] if body.startswith(mark)), f"{codec}_le")
    return body.decode(codec)
