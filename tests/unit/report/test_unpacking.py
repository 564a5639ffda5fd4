"""Bodies for people: text where it is text, never more than the bound, whatever came."""

from __future__ import annotations

import base64
import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.report.unpacking import unpack

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
    """Every coding that HTTP clients ask for."""
    headers = ((b"content-encoding", coding), (b"content-type", b"application/json"))
    assert (PLAIN.decode(), False, False) == unpack_(CODED[coding](PLAIN), headers, 1000)


def test_raw_deflate_is_understood_too() -> None:
    """Some servers mean it by deflate."""
    headers = ((b"content-encoding", b"deflate"), (b"content-type", b"text/plain"))
    assert PLAIN.decode() == unpack(_raw_deflated(PLAIN), headers, 1000).text


@pytest.mark.parametrize("coding", CODED)
def test_no_body_inflates_past_the_bound(coding: bytes) -> None:
    """Ten mebibytes of zeros in a few bytes are shown up to the bound, and marked."""
    bomb = CODED[coding](b"0" * 10 * 1024 * 1024)
    text, _, truncated = unpack_(bomb, ((b"content-encoding", coding), (b"content-type", b"text/plain")), 1000)
    assert (b"0" * 1000, True) == (text.encode(), truncated)


@pytest.mark.parametrize("coding", [*CODED, b"snappy"])
def test_what_cannot_be_unpacked_is_shown_as_it_came(coding: bytes) -> None:
    """A lie about the coding costs nothing."""
    headers = ((b"content-encoding", coding), (b"content-type", b"text/plain"))
    assert "not compressed" == unpack(b"not compressed", headers, 1000).text


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
def test_text_is_read_in_its_charset(content_type: bytes, body: bytes, text: str) -> None:
    """A charset that is none, or no text's, is UTF-8."""
    assert (text, False, False) == unpack_(body, ((b"content-type", content_type),), 1000)


def test_bytes_that_are_no_text_are_base64() -> None:
    """An image is not shown as mojibake."""
    assert (base64.b64encode(b"\x89PNG\x00").decode(), True, False) == unpack_(b"\x89PNG\x00", (), 1000)


def test_text_cut_inside_a_character_is_text_still() -> None:
    """The bound falls where it falls."""
    assert ("caf", False, True) == unpack_("café".encode(), (), 4)


@given(st.binary(max_size=300), st.sampled_from([*CODED, b""]), st.sampled_from([b"text/plain", b"", b"image/png"]))
def test_any_bytes_become_text_within_the_bound(body: bytes, coding: bytes, kind: bytes) -> None:
    """Nothing that a response holds can fail here, and what comes out can be stored and shown."""
    text = unpack(body, ((b"content-encoding", coding), (b"content-type", kind)), 64).text
    assert len(text.encode()) <= 64 * 3


def unpack_(body: bytes, headers: tuple[tuple[bytes, bytes], ...], limit: int) -> tuple[str, bool, bool]:
    """Return what `unpack` does, as a tuple."""
    unpacked = unpack(body, headers, limit)
    return unpacked.text, unpacked.base64, unpacked.truncated
