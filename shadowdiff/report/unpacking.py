"""Turn a body as on the wire into text for people, within a bound.

In: bytes and headers.  Out: text where it is text, else base64; and whether more followed.
Holds: no body inflates past the bound; what cannot be unpacked is shown as it came.
"""

from __future__ import annotations

import base64
import codecs
import re
import zlib
from typing import TYPE_CHECKING, Final

import brotli
import msgspec
import zstandard

if TYPE_CHECKING:
    from shadowdiff.model import Headers

_TEXTUAL: Final = ("json", "xml", "html", "javascript", "x-www-form-urlencoded", "ndjson", "yaml", "event-stream")
_CHARSETS: Final = re.compile(r"(us-ascii|iso-8859-|windows-|cp|koi8-|gb|big5|euc-|shift_jis|utf-(8|16|32))[\w-]{0,12}")
_CONTROLS: Final = frozenset(range(32)) - {9, 10, 12, 13, 27}


class Unpacked(msgspec.Struct, frozen=True):
    """A body's text, whether it is base64, and whether it was cut at the bound."""

    text: str
    base64: bool
    truncated: bool


def header(headers: Headers, name: bytes) -> str:
    """Return the first field of a name, or an empty text."""
    return next((value.decode("latin-1") for field, value in headers if field == name), "")


def media_type(headers: Headers) -> str:
    """Return the media type without parameters, in lower case."""
    return header(headers, b"content-type").partition(";")[0].strip().lower()


def unpack(body: bytes, headers: Headers, limit: int) -> Unpacked:
    """Return at most `limit` bytes of a body, decompressed, as text or base64."""
    plain, more = _decompress(body, header(headers, b"content-encoding").strip().lower(), limit)
    more = more or len(plain) > limit
    plain = plain[:limit]
    text = _decode(plain, headers)
    if text is not None:
        return Unpacked(text, base64=False, truncated=more)
    return Unpacked(base64.b64encode(plain).decode(), base64=True, truncated=more)


def text_of(body: bytes, headers: Headers, limit: int) -> tuple[str, bool]:
    """Return at most `limit` bytes of a body as text, binary data as Latin-1; and whether more followed."""
    plain, more = _decompress(body, header(headers, b"content-encoding").strip().lower(), limit)
    text = _decode(plain[:limit], headers)
    return plain[:limit].decode("latin-1") if text is None else text, more or len(plain) > limit


def of_latin(text: str) -> bytes:
    """Return the bytes of Latin-1, and UTF-8 for what is none: the brackets of placeholders."""
    return b"".join(part.encode("utf-8" if part in "‹›" else "latin-1") for part in re.split("([‹›])", text) if part)


def _decompress(body: bytes, coding: str, limit: int) -> tuple[bytes, bool]:
    try:
        match coding:
            case "gzip" | "x-gzip" | "deflate":
                return _inflate(body, limit)
            case "br":
                decoder = brotli.Decompressor()
                return decoder.process(body, output_buffer_limit=limit), not decoder.is_finished()
            case "zstd":
                reader = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
                plain = reader.read(limit + 1)
                return plain, len(plain) > limit
            case _:
                return body, False
    except (zlib.error, brotli.error, zstandard.ZstdError):
        return body, False


def _inflate(body: bytes, limit: int) -> tuple[bytes, bool]:
    """Return gzip, zlib or (as some servers mean by deflate) raw deflate, inflated."""
    try:
        inflater = zlib.decompressobj(wbits=47)
        return inflater.decompress(body, limit), not inflater.eof
    except zlib.error:
        inflater = zlib.decompressobj(wbits=-15)
        return inflater.decompress(body, limit), not inflater.eof


def _charset(headers: Headers) -> str:
    """Return the charset that a response names where it is one that text is written in, else UTF-8."""
    named = header(headers, b"content-type").lower().partition("charset=")[2].split(";")[0].strip(' "')
    return named if _CHARSETS.fullmatch(named) and _is_codec(named) else "utf-8"


def _is_codec(name: str) -> bool:
    try:
        codecs.lookup(name)
    except LookupError:
        return False
    return True


def _decode(plain: bytes, headers: Headers) -> str | None:
    """Return text, or None where the bytes are none: by their type, else by their look."""
    kind = media_type(headers)
    if kind.startswith("text/") or kind.endswith(_TEXTUAL):
        return plain.decode(_charset(headers), "replace")
    if _CONTROLS.intersection(plain):
        return None
    try:
        return plain.decode()
    except UnicodeDecodeError as error:
        # Cut inside a character at the bound, it is still text.
        return plain[: error.start].decode() if error.end == len(plain) and error.start + 4 > len(plain) else None
