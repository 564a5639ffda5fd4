"""Test gRPC and Protocol Buffers: frames, messages as values, and the status of a call."""

from __future__ import annotations

import gzip
import pickle
from typing import Any

import pytest

from shadowdiff.compare import Limits
from shadowdiff.compare.formats import BrokenBodyError
from shadowdiff.compare.formats.grpc import frames
from shadowdiff.compare.protobuf import DescriptorError, Descriptors
from shadowdiff.model import Comparison, Observation, Side
from tests.fakes.responses import compared, response
from tests.fakes.shop_proto import SERVICE, NewerProduct, Product, descriptor_set, framed

MESSAGES = Descriptors(descriptor_set())
GRPC = (b"content-type", b"application/grpc")
OK = ((b"grpc-status", b"0"),)


def side(which: Side, body: bytes, **changes: Any) -> Observation:
    """Return a response to a successful gRPC call."""
    call: dict[str, Any] = {"method": "POST", "path": f"{SERVICE}/Get", "headers": (GRPC,), "trailers": OK}
    return response(which, body, **(call | changes))


def judged(one: Observation, other: Observation, *rules: dict[str, Any], messages: Any = MESSAGES) -> Comparison:
    """Return the comparison under rules."""
    return compared(one, other, *rules, messages=messages, route=f"POST {one.path}")


def of(one: Any, other: Any, *rules: dict[str, Any], messages: Any = MESSAGES) -> list[tuple[str, str, Any, Any]]:
    """Return the differences between two unary responses."""
    primary = side(Side.PRIMARY, framed(one.SerializeToString()))
    candidate = side(Side.CANDIDATE, framed(other.SerializeToString()))
    return rows_of(judged(primary, candidate, *rules, messages=messages))


def rows_of(comparison: Comparison) -> list[tuple[str, str, Any, Any]]:
    """Return the path, kind and both values of each difference that no rule covers."""
    return [(one.path, str(one.kind), one.primary, one.candidate) for one in comparison.differences if one.rule is None]


def test_a_message_has_the_values_and_paths_of_its_json_form() -> None:
    """Names are in camel case, 64-bit numbers exact, bytes base64, enums named, and times text."""
    product = Product(
        sku="A1",
        unit_price=2**53 + 1,
        ratio=0.1,
        weight=1.5,
        image=b"\x00\xff",
        color=1,
        on_sale=True,
        tags=["a", "b"],
        stock={"berlin": 3},
    )
    product.made_at.FromJsonString("2026-01-02T03:04:05.5Z")
    product.limit.value = 2**64 - 1
    product.extra.update({"a": [1.0, None, "x", True], "b": {"c": 2.5}})
    product.parent.sku = "A0"
    product.detail.Pack(Product(sku="inside"))
    value = MESSAGES.value("shop.v1.Product", product.SerializeToString())
    assert value == {
        "sku": "A1",
        "unitPrice": 2**53 + 1,
        "ratio": 0.1,
        "weight": 1.5,
        "image": "AP8=",
        "color": "COLOR_RED",
        "madeAt": "2026-01-02T03:04:05.500Z",
        "limit": 2**64 - 1,
        "detail": {"@type": "type.googleapis.com/shop.v1.Product", "sku": "inside"},
        "extra": {"a": [1.0, None, "x", True], "b": {"c": 2.5}},
        "onSale": True,
        "parent": {"sku": "A0"},
        "tags": ["a", "b"],
        "stock": {"berlin": 3},
    }


def test_differences_have_paths() -> None:
    """Paths are like those of JSON. An integer that is too large for a float is compared exactly."""
    one = Product(unit_price=2**60, color=1, tags=["a"], stock={"x": 1})
    other = Product(unit_price=2**60 + 1, color=7, tags=["a", "b"], stock={"x": 2})
    assert {
        ("$['unitPrice']", "value", str(2**60), str(2**60 + 1)),
        ("$['color']", "type", '"COLOR_RED"', "7"),
        ("$['tags'][1]", "added", None, '"b"'),
        ("$['stock']['x']", "value", "1", "2"),
    } == set(of(one, other))


def test_rules_apply_to_messages() -> None:
    """Rules use the paths of the messages' JSON form."""
    one, other = Product(unit_price=100, tags=["a", "b"]), Product(unit_price=101, tags=["b", "a"])
    rules = ({"tolerance": {"path": "$.unitPrice", "abs": 1}}, {"unordered": "$.tags"})
    assert [] == of(one, other, *rules)
    assert 2 <= len(of(one, other))


def test_preconditions_apply_to_messages() -> None:
    """A pair that does not meet a precondition is no evidence about v2."""
    sides = [
        side(which, framed(Product(sku=sku, unit_price=price).SerializeToString()))
        for which, sku, price in ((Side.PRIMARY, "A", 1), (Side.CANDIDATE, "B", 2))
    ]
    assert "incomparable" == judged(sides[0], sides[1], {"require": "$.sku"}).result
    assert "mismatch" == judged(sides[0], sides[1], {"require": "$.color"}).result


def test_the_encoding_of_a_message_does_not_matter() -> None:
    """Field order on the wire and explicit defaults do not matter."""
    straight = b"\x0a\x01A\x10\x05"
    turned = b"\x10\x05\x0a\x01A\x58\x00"
    one, other = (side(Side.PRIMARY, framed(straight)), side(Side.CANDIDATE, framed(turned)))
    assert "match" == judged(one, other).result


def test_unknown_fields_are_compared() -> None:
    """v2 may be newer than the descriptors."""
    one, other = NewerProduct(sku="A", rank=1), NewerProduct(sku="A", rank=2)
    assert [("$['#100'][0]", "value", "1", "2")] == of(one, other)
    assert [("$['#100']", "added", None, "[2]")] == of(Product(sku="A"), other)


def test_a_stream_is_an_array_of_messages() -> None:
    """An additional message is one difference."""
    listed = {"path": f"{SERVICE}/List"}
    messages = [Product(sku=sku).SerializeToString() for sku in "abcd"]
    one = side(Side.PRIMARY, framed(*messages[:3]), **listed)
    other = side(Side.CANDIDATE, framed(messages[0], messages[3], *messages[1:3]), **listed)
    assert [("$[1]", "added", None, '{"sku":"d"}')] == rows_of(judged(one, other))


def test_message_compression_does_not_matter() -> None:
    """Each side may compress its messages."""
    message = Product(sku="A" * 500).SerializeToString()
    zipped = framed(gzip.compress(message), compressed=True)
    other = side(Side.CANDIDATE, zipped, headers=(GRPC, (b"grpc-encoding", b"gzip")))
    assert "match" == judged(side(Side.PRIMARY, framed(message)), other).result
    assert "match" == judged(side(Side.PRIMARY, framed(message)), other, messages=None).result


def test_without_descriptors_bytes_are_compared() -> None:
    """If descriptors are missing or lack the method, the bytes are compared."""
    assert ["bytes"] == [kind for _, kind, _, _ in of(Product(sku="A"), Product(sku="B"), messages=None)]
    one = side(Side.PRIMARY, framed(b"\x0a\x01A"), path="/other.Service/Get")
    other = side(Side.CANDIDATE, framed(b"\x0a\x01B"), path="/other.Service/Get")
    assert ["bytes"] == [kind for _, kind, _, _ in rows_of(judged(one, other))]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((b"0", b""), (b"5", b"no such"), [("header.grpc-message", "header"), ("header.grpc-status", "status")]),
        ((b"5", b"not here"), (b"5", b"nowhere"), [("header.grpc-message", "header")]),
        ((b"5", b"same"), (b"5", b"same"), []),
        ((b"0", b""), (b"14", b""), [("header.grpc-status", "status")]),
    ],
)
def test_the_status_of_a_call_is_compared(
    one: tuple[bytes, bytes], other: tuple[bytes, bytes], expected: list[tuple[str, str]]
) -> None:
    """The status is in the trailers, or in the headers of a response that has nothing else."""
    ended = [
        tuple((name, value) for name, value in zip((b"grpc-status", b"grpc-message"), said, strict=True) if value)
        for said in (one, other)
    ]
    primary = side(Side.PRIMARY, b"", trailers=ended[0])
    for candidate in (
        side(Side.CANDIDATE, b"", trailers=ended[1]),
        side(Side.CANDIDATE, b"", trailers=(), headers=(GRPC, *ended[1])),
    ):
        assert expected == [(path, kind) for path, kind, _, _ in rows_of(judged(primary, candidate))]


def test_a_grpc_failure_counts_like_5xx() -> None:
    """If v1 fails, the pair is incomparable. If v2 fails, no rule covers it."""
    fine = side(Side.PRIMARY, framed(b""))
    failed = ((b"grpc-status", b"14"),)
    broken = judged(side(Side.PRIMARY, b"", trailers=failed), side(Side.CANDIDATE, framed(b"")))
    assert ("incomparable", "primary_grpc_failed") == (broken.result, broken.reason)
    lost = judged(fine, side(Side.CANDIDATE, b"", trailers=failed), {"ignore": "header.grpc-status"}, {"ignore": "$"})
    assert ("mismatch", [("header.grpc-status", "status", "0", "14")]) == (lost.result, rows_of(lost))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x00\x00", "is shorter than its length says"),
        (framed(b"abc")[:-1], "is shorter than its length says"),
        (b"\x07" + framed(b"abc")[1:], "flag 7"),
        (framed(b"abc", compressed=True), "no grpc-encoding"),
        (framed(b"\x0a\xff"), "not a shop.v1.Product"),
        (framed(b"", b""), "2 messages"),
    ],
)
def test_a_broken_body_is_a_difference_with_its_reason(body: bytes, why: str) -> None:
    """If only v2's body is broken, the pair is a mismatch. Equal broken bytes are equal."""
    good = framed(Product(sku="A").SerializeToString())
    found = rows_of(judged(side(Side.PRIMARY, good), side(Side.CANDIDATE, body)))
    assert [("$", "type")] == [(path, kind) for path, kind, _, _ in found]
    assert why in found[0][3]
    assert "match" == judged(side(Side.PRIMARY, body), side(Side.CANDIDATE, body)).result


def test_messages_are_limited() -> None:
    """The decompressed size and the number of messages are limited."""
    bomb = framed(gzip.compress(bytes(1 << 24)), compressed=True)
    with pytest.raises(BrokenBodyError):
        frames(bomb, b"gzip", Limits(decoded_bytes=1 << 20))
    with pytest.raises(BrokenBodyError, match="messages"):
        frames(bytes(5) * 100_001, b"", Limits())
    deep = b""
    for _ in range(500):
        size = len(deep)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        deep = b"\x62" + length + deep
    with pytest.raises(BrokenBodyError):
        MESSAGES.value("shop.v1.Product", deep)


def test_messages_that_nest_too_deeply_are_broken_bodies() -> None:
    """The decoder limits each `Any` alone, so a body with many of them can nest deeper than a value may."""
    one, other = Product(sku="A"), Product(sku="B")
    for number in range(40 * 60):
        packs = number % 60 == 0
        one, other = (_around(inner, packs=packs) for inner in (one, other))
    assert ["bytes"] == [kind for _, kind, _, _ in of(one, other)]
    ((path, kind, shown, broken),) = of(Product(sku="A"), other)
    assert ("$", "type", "8 bytes") == (path, kind, shown)
    assert "nested deeper" in broken


def _around(inner: Any, *, packs: bool) -> Any:
    product = Product()
    if packs:
        product.detail.Pack(inner)
    else:
        product.parent.CopyFrom(inner)
    return product


def test_protocol_buffers_without_grpc_have_a_type_by_route_or_content_type() -> None:
    """The configuration or the Content-Type names the message type."""
    by_route = Descriptors(descriptor_set(), [("POST /products", "shop.v1.Product")])
    one, other = Product(sku="A").SerializeToString(), Product(sku="B").SerializeToString()
    plain = {"path": "/products", "headers": ((b"content-type", b"application/x-protobuf"),), "trailers": ()}
    pair = (side(Side.PRIMARY, one, **plain), side(Side.CANDIDATE, other, **plain))
    expected = [("$['sku']", "value", '"A"', '"B"')]
    assert expected == rows_of(judged(*pair, messages=by_route))
    assert ["bytes"] == [kind for _, kind, _, _ in rows_of(judged(*pair))]
    named = plain | {"headers": ((b"content-type", b'application/protobuf; messageType="shop.v1.Product"'),)}
    pair = (side(Side.PRIMARY, one, **named), side(Side.CANDIDATE, other, **named))
    assert expected == rows_of(judged(*pair))


@pytest.mark.parametrize(
    ("content", "answers", "why"),
    [
        (b"\xff\xff", [], "not a descriptor set"),
        (b"", [], "empty"),
        (descriptor_set(), [("GET /x", "shop.v1.Nothing")], "the message shop.v1.Nothing"),
        (descriptor_set().replace(b"google/protobuf/any.proto", b"google/protobuf/and.proto"), [], "--include_imports"),
    ],
)
def test_unusable_descriptors_say_why(content: bytes, answers: list[tuple[str, str]], why: str) -> None:
    """The error appears at startup, not at the first pair."""
    with pytest.raises(DescriptorError, match=why):
        Descriptors(content, answers)


def test_descriptors_can_be_pickled() -> None:
    """Large pairs are compared in another process."""
    again = pickle.loads(pickle.dumps(MESSAGES))  # noqa: S301  (our own bytes)
    assert {"sku": "A"} == again.value("shop.v1.Product", b"\x0a\x01A")


def test_unknown_fields_differ_by_number_kind_and_order() -> None:
    """Unknown fields in groups and in messages with their own JSON form also count."""
    described = Descriptors(descriptor_set())
    bodies = [
        b"\xa0\x1f\x05",  # field 500: the number 5
        b"\xa5\x1f\x05\x00\x00\x00",  # the same number in 32 bits
        b"\xa1\x1f\x05" + bytes(7),  # the same number in 64 bits
        b"\xa0\x1f\x05\xa0\x1f\x06",  # the field occurs twice
        b"\xa3\x1f\x08\x01\xa4\x1f",  # a group that contains 1
        b"\xa3\x1f\x08\x01\x08\x02\xa4\x1f",  # a group that contains 1 and 2
        b"\xa3\x1f\x08\x02\x08\x01\xa4\x1f",
    ]
    for name in ("shop.v1.Product", "google.protobuf.Timestamp", "google.protobuf.Any"):
        read = [described.value(name, body) for body in bodies]
        assert [read.index(value) for value in read] == list(range(len(bodies)))
