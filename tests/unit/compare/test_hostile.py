"""Bodies that are designed to be slow are compared in bounded time."""

from __future__ import annotations

import gzip
import time

import pytest

from shadowdiff.model import Headers, Result
from tests.fakes.responses import judged

JSON: Headers = ((b"content-type", b"application/json"),)
SSE: Headers = ((b"content-type", b"text/event-stream"),)
TEXT: Headers = ((b"content-type", b"text/plain"),)
GZIP: Headers = (*JSON, (b"content-encoding", b"gzip"))
XML: Headers = ((b"content-type", b"application/xml"),)
LINES = [f"{index} the quick brown fox jumps over the lazy dog {index}" for index in range(8000)]


@pytest.mark.parametrize(
    ("one", "other", "headers"),
    [
        (b'"' + b'\\"' * 400_000, b'"' + b'\\"' * 400_001, JSON),
        (b"data:x\n" * 150_000, b"data:y\n" * 150_000, SSE),
        ("\n".join(LINES).encode(), "\n".join(reversed([line + "!" for line in LINES])).encode(), TEXT),
        (gzip.compress(b"") * 40_000, gzip.compress(b"") * 39_999 + gzip.compress(b"1"), GZIP),
        (b"<a>" * 100_000 + b"</a>" * 100_000, b"<a>" * 100_000 + b"</a>" * 100_000 + b" ", XML),
        (b"[" * 400_000, b"[" * 400_001, JSON),
        (b'{"a":' * 100_000, b'{"a":' * 100_001, JSON),
    ],
    ids=["open-string", "one-long-event", "every-line", "gzip-members", "deep-xml", "open-arrays", "open-objects"],
)
def test_a_hostile_body_takes_seconds_at_most(one: bytes, other: bytes, headers: Headers) -> None:
    """The limit also holds on a busy machine; a quadratic step would take minutes."""
    began = time.process_time()
    assert judged(one, other, headers=headers).result is Result.MISMATCH
    assert time.process_time() - began < 10
