"""Undo content codings within bounds.

In: a body and its Content-Encoding.  Out: the decoded bytes.
Holds: output never passes the bound, so that a bomb costs no more than the bound; what cannot be undone says why.
Source: RFC 9110 section 8.4 (codings are listed in the order applied).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import brotli
import zstandard

if TYPE_CHECKING:
    from shadowdiff.compare.limits import Limits

MAX_CODINGS: Final = 4
MAX_MEMBERS: Final = 1000
"""Each member copies what is left after it, so that their number must not grow with the body."""

_FREE_BYTES: Final = 64 << 10
_ZSTD_WINDOW_BYTES: Final = 8 << 20
_CHUNK_BYTES: Final = 64 << 10


class CodingError(ValueError):
    """A body's coding cannot be undone; the message says why."""


class TooLargeError(CodingError):
    """A decoded body would pass the bound."""


def undo(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    """Return the body without its content codings.

    Raises: CodingError.
    """
    codings = [coding.strip().lower() for coding in encoding.split(b",") if coding.strip()]
    if len(codings) > MAX_CODINGS:
        raise CodingError(f"{len(codings)} content codings; at most {MAX_CODINGS} are undone")
    for coding in reversed(codings):
        bound = min(limits.decoded_bytes, max(_FREE_BYTES, len(body) * limits.ratio))
        body = _undo_one(body, coding, bound)
    if len(body) > limits.decoded_bytes:
        raise TooLargeError(f"{len(body)} bytes; at most {limits.decoded_bytes} are compared")
    return body


def _undo_one(body: bytes, coding: bytes, bound: int) -> bytes:
    if coding == b"identity" or not body:
        return body
    if coding in {b"gzip", b"x-gzip"}:
        return _gunzip(body, bound)
    if coding == b"deflate":
        return _inflate(body, bound)
    if coding == b"br":
        return _unbrotli(body, bound)
    if coding == b"zstd":
        return _unzstd(body, bound)
    raise CodingError(f"content coding {coding[:40].decode('latin-1')!r} is not known")


def _gunzip(body: bytes, bound: int) -> bytes:
    """Undo gzip, which may have several members (RFC 1952 section 2.2)."""
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == MAX_MEMBERS:
            raise CodingError(f"more than {MAX_MEMBERS} gzip members")
        part, body = _zlib(body, bound - size, 31)
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _inflate(body: bytes, bound: int) -> bytes:
    """Undo deflate: zlib by the standard, raw from servers that took the name literally."""
    try:
        return _zlib(body, bound, 15)[0]
    except TooLargeError:
        raise
    except CodingError:
        return _zlib(body, bound, -15)[0]


def _zlib(body: bytes, bound: int, window: int) -> tuple[bytes, bytes]:
    stream = zlib.decompressobj(window)
    try:
        out = stream.decompress(body, bound + 1)
    except zlib.error as error:
        raise CodingError(f"broken deflate stream: {error}") from error
    if len(out) > bound:
        raise TooLargeError(f"decodes to more than {bound} bytes")
    if not stream.eof:
        raise CodingError("deflate stream ends early")
    return out, stream.unused_data


def _unbrotli(body: bytes, bound: int) -> bytes:
    stream = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    feed = body
    try:
        while True:
            part = stream.process(feed, output_buffer_limit=_CHUNK_BYTES)
            feed = b""
            parts.append(part)
            size += len(part)
            if size > bound:
                raise TooLargeError(f"decodes to more than {bound} bytes")
            if stream.is_finished():
                return b"".join(parts)
            if not part and stream.can_accept_more_data():
                raise CodingError("brotli stream ends early")
    except brotli.error as error:
        raise CodingError("broken brotli stream") from error


def _unzstd(body: bytes, bound: int) -> bytes:
    """Undo zstd; the window is bounded as RFC 9659 asks."""
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).stream_reader(body, read_across_frames=True)
    parts: list[bytes] = []
    size = 0
    try:
        while part := reader.read(_CHUNK_BYTES):
            parts.append(part)
            size += len(part)
            if size > bound:
                raise TooLargeError(f"decodes to more than {bound} bytes")
    except zstandard.ZstdError as error:
        raise CodingError(f"broken zstd stream: {error}") from error
    return b"".join(parts)
