"""Decode content codings, with limits on size and work.

The decoded size never exceeds the limit or the work budget. An error says why a body cannot be decoded.
Source: RFC 9110 section 8.4 (codings are listed in the order applied).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import brotli
import zstandard

from shadowdiff.compare.work import Budget

if TYPE_CHECKING:
    from shadowdiff.compare.work import Limits

MAX_CODINGS: Final = 4
MAX_MEMBERS: Final = 1000
"""Each member copies the rest of the body, so their number must not grow with the body."""
MAX_BLOCKS: Final = 100_000
"""Each block of zstd is checked in turn."""
_ZSTD_HEADER_BYTES: Final = 18
_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""The end of the magic number of a frame that decoders skip; the first byte varies."""
_SKIPPABLE_FIRST: Final = 5
_REPEATED_BYTE: Final = 1
"""The type of a block that repeats one byte."""
_MAX_NIBBLES: Final = 6
_FREE_BYTES: Final = 64 << 10
_ZSTD_WINDOW_BYTES: Final = 8 << 20
_CHUNK_BYTES: Final = 64 << 10
BYTES_PER_UNIT: Final = 128
_UNITS_PER_MEMBER: Final = 32
_COPIED_BYTES_PER_UNIT: Final = 4096
_MAX_ZLIB_RATIO: Final = 1032
"""A deflate stream decodes to at most this many times its size."""


class CodingError(ValueError):
    """A body cannot be decoded; the message says why."""


class TooLargeError(CodingError):
    """A decoded body would be larger than the limit."""


def undo(body: bytes, encoding: bytes, limits: Limits, budget: Budget | None = None) -> bytes:
    """Return the decoded body.

    Raises: CodingError; TooComplexError if the budget does not cover the decoded bytes.
    """
    budget = budget or Budget(limits.work)
    codings = [coding.strip().lower() for coding in encoding.split(b",") if coding.strip()]
    if len(codings) > MAX_CODINGS:
        raise CodingError(f"{len(codings)} content codings; at most {MAX_CODINGS} are supported")
    for coding in reversed(codings):
        if coding != b"identity" and body:
            decode = _DECODERS.get(coding)
            if decode is None:
                raise CodingError(f"content coding {coding[:40].decode('latin-1')!r} is not supported")
            body = decode(body, min(limits.decoded_bytes, max(_FREE_BYTES, len(body) * limits.ratio)), budget)
    if len(body) > limits.decoded_bytes:
        raise TooLargeError(f"{len(body)} bytes; at most {limits.decoded_bytes} are compared")
    return body


def _gunzip(body: bytes, bound: int, budget: Budget) -> bytes:
    """Decode gzip, which may have several members (RFC 1952 section 2.2)."""
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == MAX_MEMBERS:
            raise CodingError(f"more than {MAX_MEMBERS} gzip members")
        budget.spend(_UNITS_PER_MEMBER + len(body) // _COPIED_BYTES_PER_UNIT)
        part, body = _zlib(body, bound - size, 31, budget)
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _inflate(body: bytes, bound: int, budget: Budget) -> bytes:
    """Decode deflate: the standard requires zlib, but some servers send raw deflate."""
    try:
        plain, rest = _zlib(body, bound, 15, budget)
    except TooLargeError:
        raise
    except CodingError:
        plain, rest = _zlib(body, bound, -15, budget)
    if rest:
        raise CodingError(f"{len(rest)} bytes follow the deflate stream")
    return plain


def _zlib(body: bytes, bound: int, window: int, budget: Budget) -> tuple[bytes, bytes]:
    """Decode one stream; also return the bytes after it. A broken stream costs its largest decoded size."""
    stream = zlib.decompressobj(window)
    most = min(bound, budget.left * BYTES_PER_UNIT) + 1
    try:
        out = stream.decompress(body, most)
    except zlib.error as error:
        budget.spend(min(most - 1, len(body) * _MAX_ZLIB_RATIO) // BYTES_PER_UNIT)
        raise CodingError(f"broken deflate stream: {error}") from error
    budget.spend(-(-len(out) // BYTES_PER_UNIT))
    if len(out) > bound:
        raise TooLargeError(f"decodes to more than {bound} bytes")
    if not stream.eof:
        raise CodingError("deflate stream ends early")
    return out, stream.unused_data


def _unbrotli(body: bytes, bound: int, budget: Budget) -> bytes:
    stream = brotli.Decompressor()
    parts: list[bytes] = []
    size = paid = 0
    window, step = _brotli_steps(body)
    feed = body
    try:
        while True:
            if size >= paid:
                budget.spend(-(-(size - paid + step) // BYTES_PER_UNIT))
                paid, step = size + step, window
            part = stream.process(feed, output_buffer_limit=_CHUNK_BYTES)
            feed = b""
            parts.append(part)
            size += len(part)
            if size > bound:
                raise TooLargeError(f"decodes to more than {bound} bytes")
            if stream.is_finished():
                budget.spend(max(0, size - paid) // BYTES_PER_UNIT)
                return b"".join(parts)
            if not part and stream.can_accept_more_data():
                raise CodingError("brotli stream ends early")
    except brotli.error as error:
        raise CodingError("broken brotli stream") from error


def _brotli_steps(body: bytes) -> tuple[int, int]:
    """Return the window size, and how many bytes the decoder may write before it returns any.

    The decoder fills its window first, unless the only meta-block is shorter (RFC 7932, section 9).
    """
    bits = int.from_bytes(body[:8], "little")

    def take(count: int) -> int:
        nonlocal bits
        taken, bits = bits & ((1 << count) - 1), bits >> count
        return taken

    window = 1 << 16
    if take(1):
        more = take(3)
        less = 0 if more else take(3)
        window = 1 << (17 + more if more or not less else 8 + less)
    if not take(1):
        return window, window
    nibbles = 4 + take(2) if not take(1) else 0
    return window, min(window, take(4 * nibbles) + 1 if nibbles <= _MAX_NIBBLES else 0)


def _unzstd(body: bytes, bound: int, budget: Budget) -> bytes:
    """Decode zstd; RFC 9659 limits the window size."""
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).stream_reader(body, read_across_frames=True)
    parts: list[bytes] = []
    size = 0
    try:
        while part := reader.read(_CHUNK_BYTES):
            budget.spend(_CHUNK_BYTES // BYTES_PER_UNIT)
            parts.append(part)
            size += len(part)
            if size > bound:
                raise TooLargeError(f"decodes to more than {bound} bytes")
    except zstandard.ZstdError as error:
        raise CodingError(f"broken zstd stream: {error}") from error
    _check_frames(body, budget)
    return b"".join(parts)


def _check_frames(body: bytes, budget: Budget) -> None:
    """Raise CodingError for an incomplete zstd frame, because the reader accepts it (RFC 8878 section 3.1)."""
    at = blocks = 0
    while at < len(body):
        if body[at + 1 : at + 4] == _SKIPPABLE and body[at] >> 4 == _SKIPPABLE_FIRST:
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            continue
        try:
            frame = zstandard.get_frame_parameters(body[at : at + _ZSTD_HEADER_BYTES])
            at += zstandard.frame_header_size(body[at : at + _ZSTD_HEADER_BYTES])
        except zstandard.ZstdError as error:
            raise CodingError(f"broken zstd stream: {error}") from error
        budget.spend(_UNITS_PER_MEMBER)
        is_last = False
        while not is_last:
            header = int.from_bytes(body[at : at + 3], "little")
            is_last = bool(header & 1)
            at += 3 + (1 if header >> 1 & 3 == _REPEATED_BYTE else header >> 3)
            blocks += 1
            budget.spend(1)
            if at > len(body) or blocks > MAX_BLOCKS:
                raise CodingError("zstd stream ends early" if at > len(body) else f"more than {MAX_BLOCKS} zstd blocks")
        at += 4 if frame.has_checksum else 0
    if at > len(body):
        raise CodingError("zstd stream ends early")


_DECODERS: Final = {b"gzip": _gunzip, b"x-gzip": _gunzip, b"deflate": _inflate, b"br": _unbrotli, b"zstd": _unzstd}
