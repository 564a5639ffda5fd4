"""Unary calls of Connect are compared by the message that their path names."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.model import Result, Side
from tests.fakes.shop_proto import SERVICE, Product
from tests.unit.compare.test_messages import judged, rows_of
from tests.unit.compare.test_messages import side as grpc_side

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Observation

PROTO = (b"content-type", b"application/proto")
JSON = (b"content-type", b"application/json")
GZIP = (b"content-encoding", b"gzip")


def side(which: Side, body: bytes, *headers: tuple[bytes, bytes], **changes: Any) -> Observation:
    """Return a response to a unary call."""
    return grpc_side(which, body, **({"trailers": (), "headers": headers or (PROTO,)} | changes))


def compared(one: bytes, other: bytes, *rules: dict[str, Any], **changes: Any) -> Comparison:
    """Return the comparison of two messages."""
    messages = {"messages": changes.pop("messages")} if "messages" in changes else {}
    return judged(side(Side.PRIMARY, one, **changes), side(Side.CANDIDATE, other, **changes), *rules, **messages)


def message(price: int, **fields: Any) -> bytes:
    """Return one message."""
    return Product(unit_price=price, **fields).SerializeToString()


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"path": f"/api/connect{SERVICE}/Get"},
        {"method": "GET", "path": f"{SERVICE}/Get?connect=v1&encoding=proto&message=CgEx&base64=1"},
    ],
)
def test_a_difference_has_the_path_of_its_field(call: dict[str, Any]) -> None:
    """The path names the method, also below a prefix and in a call with GET."""
    assert [("$['unitPrice']", "value", "1", "2")] == rows_of(compared(message(1), message(2), **call))
    assert Result.IGNORED is compared(message(1), message(2), {"ignore": "$.unitPrice"}, **call).result


def test_an_empty_body_is_a_message_without_fields() -> None:
    """The body has no frames, so a message with default values has no bytes."""
    assert [("$['unitPrice']", "removed", "1", None)] == rows_of(compared(message(1), b""))


def test_the_order_of_fields_does_not_matter() -> None:
    """Each byte matters only if there are no descriptors."""
    one, other = message(1) + Product(sku="a").SerializeToString(), Product(sku="a", unit_price=1).SerializeToString()
    assert one != other
    assert Result.MATCH is compared(one, other).result
    assert Result.MISMATCH is compared(one, other, messages=None).result


def test_a_compressed_body_is_read() -> None:
    """Connect compresses a unary body as HTTP does. Preconditions apply to it, too."""
    primary = side(Side.PRIMARY, gzip.compress(message(1, sku="a"), mtime=0), PROTO, GZIP)
    candidate = side(Side.CANDIDATE, message(2, sku="b"))
    assert {"$['unitPrice']", "$['sku']"} == {path for path, *_ in rows_of(judged(primary, candidate))}
    assert "require $.sku" == judged(primary, candidate, {"require": "$.sku"}).reason


def test_an_error_is_json() -> None:
    """An error of v2 is a mismatch; two errors are compared by value."""
    error = b'{"code": "not_found", "message": "no A1"}'
    failed = side(Side.CANDIDATE, error, JSON, status=404)
    assert "status" == rows_of(judged(side(Side.PRIMARY, message(1)), failed))[0][0]
    other = side(Side.PRIMARY, b'{"message": "no such product", "code": "not_found"}', JSON, status=404)
    assert ["$['message']"] == [path for path, *_ in rows_of(judged(other, failed))]


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_any_bytes_have_a_result(one: bytes, other: bytes) -> None:
    """Without descriptors each byte counts. With descriptors, different bytes match only if their fields are equal."""
    assert compared(one, other, messages=None).result is (Result.MATCH if one == other else Result.MISMATCH)
    if compared(one, other).result is Result.MATCH and one != other:
        assert Product.FromString(one) == Product.FromString(other)


def test_a_broken_message_of_v2_is_a_mismatch() -> None:
    """A frame of gRPC is no message."""
    (found,) = rows_of(compared(message(1), b"\x00\x00\x00\x00\x02" + message(1)))
    assert ("$", "type") == found[:2]
