"""Convert a body as sent to readable text: decompress and decode it, and encode binary data as base64.

Decompression stops at a limit. A body that cannot be decompressed is shown unchanged.
"""

from __future__ import annotations

import base64
import codecs
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import brotli
import msgspec
import zstandard

if TYPE_CHECKING:
    from shadowdiff.model import Headers

_TEXTUAL: Final = ("json", "xml", "html", "javascript", "x-www-form-urlencoded", "ndjson", "yaml", "event-stream")
_CHARSETS: Final = re.compile(r"(us-ascii|iso-8859-|windows-|cp|koi8-|gb|big5|euc-|shift_jis|utf-(8|16|32))[\w-]{0,12}")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


class DecodedBody(msgspec.Struct, frozen=True):
    """A body's text (Latin-1 for binary data), and whether it was cut at the limit."""

    text: str
    binary: bool
    truncated: bool

    def encode(self, redacted: str) -> str:
        """Return the redacted text in its stored form: binary data as base64, with placeholders in UTF-8."""
        if not self.binary:
            return redacted
        parts = re.split("([‹›])", redacted)
        return base64.b64encode(b"".join(one.encode("utf-8" if one in "‹›" else "latin-1") for one in parts)).decode()


def header(headers: Headers, name: bytes) -> str:
    """Return the value of the first field with this name, or an empty text."""
    return next((value.decode("latin-1") for field, value in headers if field == name), "")


def media_type(headers: Headers) -> str:
    """Return the media type without parameters, in lower case."""
    return header(headers, b"content-type").partition(";")[0].strip().lower()


def with_type(headers: Headers, named: bytes) -> Headers:
    """Return headers in which another type replaces the Content-Type, as in `body_types`; b"" replaces nothing."""
    sent = header(headers, b"content-type").encode("latin-1")
    return ((b"content-type", b"%s;%s" % (named, sent)), *headers) if named else headers


def decode_body(body: bytes, headers: Headers, limit: int) -> DecodedBody:
    """Return at most `limit` bytes of a body, decompressed."""
    plain, more = _decompress(body, header(headers, b"content-encoding").strip().lower(), limit)
    text = _decode(plain[:limit], headers)
    latin = plain[:limit].decode("latin-1") if text is None else text
    return DecodedBody(latin, binary=text is None, truncated=more or len(plain) > limit)


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
    """Decompress gzip, zlib or raw deflate, which some servers send as `deflate`."""
    try:
        inflater = zlib.decompressobj(wbits=47)
        return inflater.decompress(body, limit), not inflater.eof
    except zlib.error:
        inflater = zlib.decompressobj(wbits=-15)
        return inflater.decompress(body, limit), not inflater.eof


def _charset(headers: Headers) -> str:
    """Return the charset in the content type if it is a known text charset, else UTF-8."""
    named = header(headers, b"content-type").lower().partition("charset=")[2].split(";")[0].strip(' "')
    with suppress(LookupError):
        if _CHARSETS.fullmatch(named) and codecs.lookup(named):
            return named
    return "utf-8"


def _decode(plain: bytes, headers: Headers) -> str | None:
    """Return the bytes as text, or None if they are binary by their type or content."""
    kind = media_type(headers)
    if kind.startswith("text/") or kind.endswith(_TEXTUAL):
        return plain.decode(_charset(headers), "replace")
    if _CONTROLS.search(plain):
        return None
    try:
        return plain.decode()
    except UnicodeDecodeError as error:
        # If the limit cuts a character in two, the rest is still text.
        return plain[: error.start].decode() if error.end == len(plain) and error.start + 4 > len(plain) else None
