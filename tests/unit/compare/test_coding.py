"""Content codings are decoded within limits."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import Any, cast

import brotli
import pytest
import zstandard

from shadowdiff.compare import Limits
from shadowdiff.compare.coding import BYTES_PER_UNIT, CodingError, TooLargeError, undo
from shadowdiff.compare.work import Budget, TooComplexError

LIMITS = Limits(decoded_bytes=1 << 20)
ZSTD_EMPTY = zstandard.ZstdCompressor().compress(b"")
ZSTD_OPEN = b"\x28\xb5\x2f\xfd\x00\x58"
"""A frame's magic number, no flags, and a window of 2 MiB: blocks follow."""
BODY = b"shadow " * 500


def raw_deflate(body: bytes) -> bytes:
    """Return data in deflate without the zlib wrapper, as some servers send it."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "coded"),
    [
        (b"", BODY),
        (b"identity", BODY),
        (b"gzip", gzip.compress(BODY, mtime=0)),
        (b"X-GZIP", gzip.compress(BODY, mtime=0)),
        (b"gzip", gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0)),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", raw_deflate(BODY)),
        (b"br", brotli.compress(BODY)),
        (b"zstd", zstandard.ZstdCompressor().compress(BODY)),
        (b"br, gzip", gzip.compress(brotli.compress(BODY), mtime=0)),
        (b" gzip ,, identity ", gzip.compress(BODY, mtime=0)),
    ],
)
def test_a_coding_is_undone(encoding: bytes, coded: bytes) -> None:
    """Each coding is found by its name, and chains are decoded from the last to the first."""
    assert undo(coded, encoding, LIMITS) == BODY


@pytest.mark.parametrize(
    ("encoding", "coded", "said"),
    [
        (b"zap", BODY, "content coding 'zap' is not supported"),
        (b"gzip", BODY, "broken deflate stream"),
        (b"gzip", gzip.compress(BODY, mtime=0)[:-9], "ends early"),
        (b"deflate", b"\xff\xff", "broken deflate stream"),
        (b"br", b"\xff" * 20, "brotli stream"),
        (b"br", brotli.compress(BODY)[:-3], "brotli stream"),
        (b"zstd", BODY, "broken zstd stream"),
        (b"zstd", zstandard.ZstdCompressor().compress(BODY)[:-1], "zstd stream"),
        (b"zstd", ZSTD_EMPTY + b"\x28\xb5\x2f\xfd", "broken zstd stream"),
        (b"zstd", b"\x52\x2a\x4d\x18\x05\x00\x00\x00ab", "zstd stream ends early"),
        (b"zstd", ZSTD_OPEN + b"\x00\x00\x00" * 100_001 + b"\x01\x00\x00", "more than 100000 zstd blocks"),
        (b"deflate", zlib.compress(BODY) + b"x", "1 bytes follow the deflate stream"),
        (b"gzip, gzip, gzip, gzip, gzip", BODY, "at most 4 are supported"),
    ],
)
def test_a_coding_that_cannot_be_decoded_has_a_reason(encoding: bytes, coded: bytes, said: str) -> None:
    """The message names the coding."""
    with pytest.raises(CodingError, match=said):
        undo(coded, encoding, LIMITS)


ZEROS = bytes(64 << 20)


@pytest.mark.parametrize(
    ("encoding", "coded"),
    [
        (b"gzip", gzip.compress(ZEROS, mtime=0)),
        (b"deflate", zlib.compress(ZEROS)),
        (b"br", brotli.compress(ZEROS, quality=3)),
        (b"zstd", zstandard.ZstdCompressor().compress(ZEROS)),
        (b"gzip, gzip", gzip.compress(gzip.compress(ZEROS), mtime=0)),
    ],
)
def test_a_bomb_uses_no_more_memory_than_the_limit(encoding: bytes, coded: bytes) -> None:
    """64 MiB of zeros are rejected with little more memory than the limit."""
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="decodes to more than"):
        undo(coded, encoding, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * LIMITS.decoded_bytes


def test_the_ratio_is_limited_too() -> None:
    """A small body must not expand too much, even if the size limit would allow it."""
    with pytest.raises(TooLargeError):
        undo(gzip.compress(bytes(900_000), mtime=0), b"gzip", Limits(ratio=10))
    assert len(undo(gzip.compress(bytes(60_000), mtime=0), b"gzip", Limits(ratio=10))) == 60_000


def test_the_size_limit_applies_to_bodies_without_a_coding() -> None:
    """A larger plain body is not compared."""
    with pytest.raises(TooLargeError, match="at most 10 are compared"):
        undo(bytes(11), b"", Limits(decoded_bytes=10))


def _flushed_brotli(body: bytes) -> bytes:
    stream: Any = cast("Any", brotli).Compressor(lgwin=24)
    coded: bytes = stream.process(body) + stream.flush() + stream.finish()
    return coded


BOMB = bytes(4 << 20)
BOMBS = {
    "gzip": (b"gzip", gzip.compress(BOMB, mtime=0)),
    "broken gzip": (b"gzip", gzip.compress(BOMB, mtime=0)[:-12] + b"\xff" * 12),
    "raw deflate": (b"deflate", raw_deflate(BOMB)),
    "brotli": (b"br", brotli.compress(BOMB)),
    "flushed brotli": (b"br", _flushed_brotli(BOMB)),
    "zstd": (b"zstd", zstandard.ZstdCompressor().compress(BOMB)),
    "twice": (b"gzip, gzip", gzip.compress(gzip.compress(BOMB, mtime=0), mtime=0)),
    "members": (b"gzip", gzip.compress(b"", mtime=0) * 900),
    "zstd frames": (b"zstd", ZSTD_EMPTY * 900),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_body_decodes_no_further_than_the_budget_allows(name: str) -> None:
    """A body over the budget uses no more memory than one within it."""
    encoding, body = BOMBS[name]
    budget = Budget(7500)
    tracemalloc.start()
    with pytest.raises(TooComplexError):
        undo(body, encoding, Limits(ratio=1 << 20), budget)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (True, True) == (budget.left < 0, peak < 2 * 7500 * BYTES_PER_UNIT + (256 << 10))


@pytest.mark.parametrize(
    ("encoding", "coded"), [(b"gzip", gzip.compress(BODY)), (b"br", brotli.compress(BODY))], ids=["gzip", "br"]
)
def test_a_normal_body_costs_its_decoded_size(encoding: bytes, coded: bytes) -> None:
    """Servers compress small bodies too, and these are compared on the event loop."""
    budget = Budget(1000)
    assert undo(coded, encoding, Limits(), budget) == BODY
    assert 1000 - budget.left <= len(BODY) // BYTES_PER_UNIT + 32 + len(coded)


@pytest.mark.parametrize("quality", [0, 1, 4, 11])
@pytest.mark.parametrize("lgwin", [10, 16, 17, 18, 22, 24])
@pytest.mark.parametrize("size", [1, 70, 5000, 300_000])
def test_the_first_steps_of_brotli_are_known_before_it_decodes(quality: int, lgwin: int, size: int) -> None:
    """The first steps cover everything that the decoder returns before it charges more work."""
    body = (b"some words of a body %d" % size * (1 + size // 20))[:size]
    coded = brotli.compress(body, quality=quality, lgwin=lgwin)
    budget = Budget(1 << 30)
    assert undo(coded, b"br", Limits(ratio=1 << 20), budget) == body
    assert (1 << 30) - budget.left >= size // BYTES_PER_UNIT
