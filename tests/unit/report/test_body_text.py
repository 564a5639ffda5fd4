"""Convert bodies to readable text if possible, within the limit, for any input."""

from __future__ import annotations

import base64
import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.report.body_text import decode_body

PLAIN = b'{"a": 1}'


def _raw_deflated(plain: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(plain) + deflater.flush()


CODED = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", CODED)
def test_compressed_bodies_are_shown_as_text(coding: bytes) -> None:
    """The test covers every coding that HTTP clients request."""
    headers = ((b"content-encoding", coding), (b"content-type", b"application/json"))
    assert (PLAIN.decode(), False, False) == unpack_(CODED[coding](PLAIN), headers, 1000)


def test_raw_deflate_is_decoded() -> None:
    """Some servers send raw deflate with the name `deflate`."""
    headers = ((b"content-encoding", b"deflate"), (b"content-type", b"text/plain"))
    assert PLAIN.decode() == decode_body(_raw_deflated(PLAIN), headers, 1000).text


@pytest.mark.parametrize("coding", CODED)
def test_no_body_is_decompressed_past_the_limit(coding: bytes) -> None:
    """Ten mebibytes of zeros in a few bytes are shown up to the limit, and marked."""
    bomb = CODED[coding](b"0" * 10 * 1024 * 1024)
    text, _, truncated = unpack_(bomb, ((b"content-encoding", coding), (b"content-type", b"text/plain")), 1000)
    assert (b"0" * 1000, True) == (text.encode(), truncated)


@pytest.mark.parametrize("coding", [*CODED, b"snappy"])
def test_body_that_cannot_be_decompressed_is_shown_unchanged(coding: bytes) -> None:
    """A wrong Content-Encoding does not hide the body."""
    headers = ((b"content-encoding", coding), (b"content-type", b"text/plain"))
    assert "not compressed" == decode_body(b"not compressed", headers, 1000).text


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (b"text/plain; charset=iso-8859-1", b"caf\xe9", "café"),
        (b"text/plain; charset=windows-1252", b"\x80", "€"),
        (b"text/plain; charset=no-such", b"caf\xc3\xa9", "café"),
        (b"text/plain; charset=unicode_escape", b"\\ud800", "\\ud800"),
        (b"text/plain; charset=punycode", b"a-b", "a-b"),
        (b"text/plain", b"caf\xe9", "caf�"),
        (b"", b"plain all the same", "plain all the same"),
        (b"application/problem+json", b"{}", "{}"),
    ],
)
def test_text_is_decoded_by_its_charset(content_type: bytes, body: bytes, text: str) -> None:
    """An unknown charset is read as UTF-8."""
    assert (text, False, False) == unpack_(body, ((b"content-type", content_type),), 1000)


def test_binary_data_is_shown_as_base64() -> None:
    """An image is not shown as unreadable characters."""
    assert (base64.b64encode(b"\x89PNG\x00").decode(), True, False) == unpack_(b"\x89PNG\x00", (), 1000)


def test_text_cut_inside_a_character_is_still_text() -> None:
    """The limit may split a character."""
    assert ("caf", False, True) == unpack_("café".encode(), (), 4)


@given(st.binary(max_size=300), st.sampled_from([*CODED, b""]), st.sampled_from([b"text/plain", b"", b"image/png"]))
def test_any_bytes_become_text_within_the_limit(body: bytes, coding: bytes, kind: bytes) -> None:
    """Any response can be converted, stored and shown."""
    text = decode_body(body, ((b"content-encoding", coding), (b"content-type", kind)), 64).text
    assert len(text.encode()) <= 64 * 3


def unpack_(body: bytes, headers: tuple[tuple[bytes, bytes], ...], limit: int) -> tuple[str, bool, bool]:
    """Return the result of `decode_body` as a tuple, with the text as stored."""
    unpacked = decode_body(body, headers, limit)
    return unpacked.encode(unpacked.text), unpacked.binary, unpacked.truncated
