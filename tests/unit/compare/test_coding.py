"""Content codings are undone within bounds."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import brotli
import pytest
import zstandard

from shadowdiff.compare import Limits
from shadowdiff.compare.coding import CodingError, TooLargeError, undo

LIMITS = Limits(decoded_bytes=1 << 20)
BODY = b"shadow " * 500


def raw_deflate(body: bytes) -> bytes:
    """Deflate without the zlib wrapper, as some servers send it."""
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
    """Each by its name, chains from the last to the first."""
    assert undo(coded, encoding, LIMITS) == BODY


@pytest.mark.parametrize(
    ("encoding", "coded", "said"),
    [
        (b"zap", BODY, "content coding 'zap' is not known"),
        (b"gzip", BODY, "broken deflate stream"),
        (b"gzip", gzip.compress(BODY, mtime=0)[:-9], "ends early"),
        (b"deflate", b"\xff\xff", "broken deflate stream"),
        (b"br", b"\xff" * 20, "brotli stream"),
        (b"br", brotli.compress(BODY)[:-3], "brotli stream"),
        (b"zstd", BODY, "broken zstd stream"),
        (b"gzip, gzip, gzip, gzip, gzip", BODY, "at most 4 are undone"),
    ],
)
def test_what_cannot_be_undone_says_why(encoding: bytes, coded: bytes, said: str) -> None:
    """With the coding at fault."""
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
def test_a_bomb_costs_no_more_than_the_bound(encoding: bytes, coded: bytes) -> None:
    """64 MiB of zeros are refused with little more memory than the bound."""
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="decodes to more than"):
        undo(coded, encoding, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * LIMITS.decoded_bytes


def test_the_ratio_is_bounded_as_well() -> None:
    """A small body may not become a large one that the size alone would allow."""
    with pytest.raises(TooLargeError):
        undo(gzip.compress(bytes(900_000), mtime=0), b"gzip", Limits(ratio=10))
    assert len(undo(gzip.compress(bytes(60_000), mtime=0), b"gzip", Limits(ratio=10))) == 60_000


def test_a_body_that_is_not_coded_keeps_to_the_bound() -> None:
    """A plain body of more than the bound is not compared."""
    with pytest.raises(TooLargeError, match="at most 10 are compared"):
        undo(bytes(11), b"", Limits(decoded_bytes=10))
