"""gRPC-Web bodies are compared by their messages and trailers, in binary and in base64."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare.content_type import media_of
from shadowdiff.compare.formats import BrokenBodyError
from shadowdiff.compare.formats.grpc_web import split_web
from shadowdiff.model import Observation, Result, Side
from tests.fakes.shop_proto import Product, framed
from tests.unit.compare.test_messages import judged, rows_of
from tests.unit.compare.test_messages import side as grpc_side

if TYPE_CHECKING:
    from shadowdiff.model import Comparison

BINARY = ("application/grpc-web", "application/grpc-web+proto", "Application/gRPC-Web+Proto")
TEXT = ("application/grpc-web-text", "application/grpc-web-text+proto")
TYPES = (*BINARY, *TEXT)


def trailers(text: bytes = b"grpc-status: 0\r\n") -> bytes:
    """Return a frame of trailers."""
    return b"\x80" + len(text).to_bytes(4, "big") + text


def side(which: Side, media: str, body: bytes, *headers: tuple[bytes, bytes]) -> Observation:
    """Return a response to a call from a browser."""
    body = base64.b64encode(body) if media in TEXT else body
    return grpc_side(which, body, trailers=(), headers=((b"content-type", media.encode()), *headers))


def compared(media: str, one: bytes, other: bytes, **options: Any) -> Comparison:
    """Return the comparison of two bodies of one type."""
    return judged(side(Side.PRIMARY, media, one), side(Side.CANDIDATE, media, other), **options)


def message(price: int) -> bytes:
    """Return one framed message."""
    return framed(Product(sku="a", unit_price=price).SerializeToString())


@pytest.mark.parametrize("media", TYPES)
def test_a_difference_has_the_path_of_its_field(media: str) -> None:
    """Paths are the same as in gRPC."""
    found = compared(media, message(1) + trailers(), message(2) + trailers())
    assert [("$['unitPrice']", "value", "1", "2")] == rows_of(found)


@pytest.mark.parametrize("media", TYPES)
def test_the_status_in_the_trailers_is_compared(media: str) -> None:
    """A failure of only v2 is a mismatch. A failure of v1 makes the pair incomparable."""
    ok, failed = message(1) + trailers(), trailers(b"grpc-status: 13\r\ngrpc-message: oops\r\n")
    denied = trailers(b"grpc-status:7\r\n")
    assert [("header.grpc-status", "status", "0", "13")] == rows_of(compared(media, ok, failed))
    assert "primary_grpc_failed" == compared(media, failed, ok).reason
    paths = [path for path, *_ in rows_of(compared(media, ok, denied))]
    assert ["header.grpc-status", "$"] == paths
    assert Result.MATCH is compared(media, denied, trailers(b"GRPC-Status: 7\r\n")).result


@pytest.mark.parametrize("media", TYPES)
def test_without_descriptors_message_bytes_are_compared(media: str) -> None:
    """The spelling of trailers does not matter, but each byte of a message does."""
    other = trailers(b"grpc-status:0\r\n")
    assert Result.MATCH is compared(media, message(1) + trailers(), message(1) + other, messages=None).result
    assert Result.MISMATCH is compared(media, message(1) + trailers(), message(2) + trailers(), messages=None).result


def test_base64_may_be_padded_anywhere() -> None:
    """A server may pad each frame, or the whole body."""
    one, other = message(1), trailers()
    parts = base64.b64encode(one) + base64.b64encode(other)
    primary = side(Side.PRIMARY, TEXT[0], one + other)
    candidate = side(Side.CANDIDATE, TEXT[0], b"")
    changes = {"body": parts, "body_bytes": len(parts)}
    assert Result.MATCH is judged(primary, msgspec.structs.replace(candidate, **changes)).result


def test_a_compressed_body_is_read() -> None:
    """A proxy may compress the body."""
    bodies = [gzip.compress(message(price) + trailers(), mtime=0) for price in (1, 2)]
    coded = (b"content-encoding", b"gzip")
    primary = side(Side.PRIMARY, BINARY[0], bodies[0], coded)
    candidate = side(Side.CANDIDATE, BINARY[0], bodies[1], coded)
    assert [("$['unitPrice']", "value", "1", "2")] == rows_of(judged(primary, candidate))


@pytest.mark.parametrize(
    "broken",
    [
        message(1)[:-1],
        message(1) + trailers()[:-1],
        message(1) + trailers() + message(1),
        message(1) + b"\x81" + trailers()[1:],
        message(1) + trailers() + trailers(),
    ],
)
@pytest.mark.parametrize("media", [BINARY[0], TEXT[0]])
def test_a_broken_body_of_v2_is_a_mismatch(media: str, broken: bytes) -> None:
    """The result is neither a match nor an exception."""
    assert Result.MISMATCH is compared(media, message(1) + trailers(), broken).result


@given(st.lists(st.binary(max_size=30), max_size=5), st.one_of(st.none(), st.binary(max_size=40)))
def test_splitting_gives_frames_and_trailers(messages: list[bytes], ending: bytes | None) -> None:
    """The frames are those of gRPC, in binary and in base64."""
    frames, end = framed(*messages), b"" if ending is None else trailers(ending)
    binary = split_web(frames + end, media_of(b"application/grpc-web"))
    text = split_web(base64.b64encode(frames + end), media_of(b"application/grpc-web-text"))
    assert frames == binary[0]
    assert binary == text


@given(st.binary(max_size=80), st.sampled_from(TYPES))
def test_any_bytes_are_split_or_broken(body: bytes, media: str) -> None:
    """For any bytes, splitting loses no part of the body silently."""
    try:
        frames, _ = split_web(body, media_of(media.encode()))
    except BrokenBodyError:
        return
    if media not in TEXT:
        assert body.startswith(frames)
        assert frames == body or body[len(frames)] == 0x80


def test_a_body_of_grpc_itself_is_not_split() -> None:
    """In gRPC, a flag of 128 is invalid."""
    body = message(1) + trailers()
    assert Result.MISMATCH is compared("application/grpc", message(1), body).result
