"""gRPC and Protocol Buffers: frames, messages as values, and how a call ended."""

from __future__ import annotations

import gzip
import pickle
from typing import Any

import pytest

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.decoders import BrokenBodyError
from shadowdiff.compare.messages import frames
from shadowdiff.compare.protobuf import DescriptorError, Descriptors
from shadowdiff.model import Comparison, Observation, Pair, Side
from shadowdiff.rules import compile_rules, parse_rules
from tests.fakes.shop_proto import SERVICE, NewerProduct, Product, descriptor_set, framed

MESSAGES = Descriptors(descriptor_set())
GRPC = (b"content-type", b"application/grpc")
OK = ((b"grpc-status", b"0"),)


def side(which: Side, body: bytes, **changes: Any) -> Observation:
    """Return an answer of a gRPC call that went well."""
    stated: dict[str, Any] = {
        "side": which, "target": "shop", "id": "1", "id_source": "x-diff-id", "method": "POST",
        "path": f"{SERVICE}/Get", "host": "shop", "status": 200, "headers": (GRPC,), "trailers": OK, "body": body,
        "body_bytes": len(body),
    }  # fmt: skip
    return Observation(**(stated | changes))


def judged(one: Observation, other: Observation, *rules: dict[str, Any], messages: Any = MESSAGES) -> Comparison:
    """Return the comparison under rules."""
    from datetime import UTC, datetime

    route = f"POST {one.path}"
    pair = Pair(key=b"", target="shop", route=route, primary=one, candidate=other)
    return compare(pair, compile_rules(parse_rules(list(rules)), datetime.now(UTC)), Limits(), messages)


def of(one: Any, other: Any, *rules: dict[str, Any], messages: Any = MESSAGES) -> list[tuple[str, str, Any, Any]]:
    """Return what differs between two unary answers."""
    primary = side(Side.PRIMARY, framed(one.SerializeToString()))
    candidate = side(Side.CANDIDATE, framed(other.SerializeToString()))
    return told(judged(primary, candidate, *rules, messages=messages))


def told(comparison: Comparison) -> list[tuple[str, str, Any, Any]]:
    """Return each difference that counts: path, kind, both values."""
    return [(one.path, str(one.kind), one.primary, one.candidate) for one in comparison.differences if one.rule is None]


def test_a_message_has_the_values_and_paths_of_its_json_form() -> None:
    """Names in camel case; 64 bits exact, bytes as base64, enums by name, times as text."""
    product = Product(
        sku="A1",
        unit_price=2**53 + 1,
        ratio=0.1,
        weight=1.5,
        image=b"\x00\xff",
        colour=1,
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
        "colour": "COLOUR_RED",
        "madeAt": "2026-01-02T03:04:05.500Z",
        "limit": 2**64 - 1,
        "detail": {"@type": "type.googleapis.com/shop.v1.Product", "sku": "inside"},
        "extra": {"a": [1.0, None, "x", True], "b": {"c": 2.5}},
        "onSale": True,
        "parent": {"sku": "A0"},
        "tags": ["a", "b"],
        "stock": {"berlin": 3},
    }


def test_differences_are_told_by_path() -> None:
    """As of JSON; an integer that a float could not hold is seen to the last digit."""
    one = Product(unit_price=2**60, colour=1, tags=["a"], stock={"x": 1})
    other = Product(unit_price=2**60 + 1, colour=7, tags=["a", "b"], stock={"x": 2})
    assert {
        ("$['unitPrice']", "value", str(2**60), str(2**60 + 1)),
        ("$['colour']", "type", '"COLOUR_RED"', "7"),
        ("$['tags'][1]", "added", None, '"b"'),
        ("$['stock']['x']", "value", "1", "2"),
    } == set(of(one, other))


def test_rules_speak_of_messages_as_of_json() -> None:
    """The same paths in the same syntax."""
    one, other = Product(unit_price=100, tags=["a", "b"]), Product(unit_price=101, tags=["b", "a"])
    rules = ({"tolerance": {"path": "$.unitPrice", "abs": 1}}, {"unordered": "$.tags"})
    assert [] == of(one, other, *rules)
    assert 2 <= len(of(one, other))


def test_a_precondition_speaks_of_messages_too() -> None:
    """Where it does not hold the pair says nothing of v2."""
    sides = [
        side(which, framed(Product(sku=sku, unit_price=price).SerializeToString()))
        for which, sku, price in ((Side.PRIMARY, "A", 1), (Side.CANDIDATE, "B", 2))
    ]
    assert "incomparable" == judged(sides[0], sides[1], {"require": "$.sku"}).result
    assert "mismatch" == judged(sides[0], sides[1], {"require": "$.colour"}).result


def test_the_same_message_written_otherwise_is_the_same() -> None:
    """The order of fields on the wire, and defaults written out, say nothing."""
    straight = b"\x0a\x01A\x10\x05"
    turned = b"\x10\x05\x0a\x01A\x58\x00"
    one, other = (side(Side.PRIMARY, framed(straight)), side(Side.CANDIDATE, framed(turned)))
    assert "match" == judged(one, other).result


def test_a_field_that_nobody_describes_is_kept_and_compared() -> None:
    """V2 may be newer than the descriptors."""
    one, other = NewerProduct(sku="A", rank=1), NewerProduct(sku="A", rank=2)
    assert [("$['#100'][0]", "value", "1", "2")] == of(one, other)
    assert [("$['#100']", "added", None, "[2]")] == of(Product(sku="A"), other)


def test_a_stream_is_an_array_of_messages() -> None:
    """Of a method that answers with a stream; a message more is one difference."""
    listed = {"path": f"{SERVICE}/List"}
    messages = [Product(sku=sku).SerializeToString() for sku in "abcd"]
    one = side(Side.PRIMARY, framed(*messages[:3]), **listed)
    other = side(Side.CANDIDATE, framed(messages[0], messages[3], *messages[1:3]), **listed)
    assert [("$[1]", "added", None, '{"sku":"d"}')] == told(judged(one, other))


def test_compression_says_nothing() -> None:
    """A side may compress its messages, or not."""
    message = Product(sku="A" * 500).SerializeToString()
    zipped = framed(gzip.compress(message), compressed=True)
    other = side(Side.CANDIDATE, zipped, headers=(GRPC, (b"grpc-encoding", b"gzip")))
    assert "match" == judged(side(Side.PRIMARY, framed(message)), other).result
    assert "match" == judged(side(Side.PRIMARY, framed(message)), other, messages=None).result


def test_without_descriptors_bytes_are_compared() -> None:
    """And a method that the descriptors lack is one without."""
    assert ["bytes"] == [kind for _, kind, _, _ in of(Product(sku="A"), Product(sku="B"), messages=None)]
    one = side(Side.PRIMARY, framed(b"\x0a\x01A"), path="/other.Service/Get")
    other = side(Side.CANDIDATE, framed(b"\x0a\x01B"), path="/other.Service/Get")
    assert ["bytes"] == [kind for _, kind, _, _ in told(judged(one, other))]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((b"0", b""), (b"5", b"no such"), [("header.grpc-message", "header"), ("header.grpc-status", "status")]),
        ((b"5", b"not here"), (b"5", b"nowhere"), [("header.grpc-message", "header")]),
        ((b"5", b"same"), (b"5", b"same"), []),
        ((b"0", b""), (b"14", b""), [("header.grpc-status", "status")]),
    ],
)
def test_how_a_call_ended_is_compared(
    one: tuple[bytes, bytes], other: tuple[bytes, bytes], expected: list[tuple[str, str]]
) -> None:
    """In the trailers, or in the headers of an answer that has nothing else."""
    ended = [
        tuple((name, value) for name, value in zip((b"grpc-status", b"grpc-message"), said, strict=True) if value)
        for said in (one, other)
    ]
    primary = side(Side.PRIMARY, b"", trailers=ended[0])
    for candidate in (
        side(Side.CANDIDATE, b"", trailers=ended[1]),
        side(Side.CANDIDATE, b"", trailers=(), headers=(GRPC, *ended[1])),
    ):
        assert expected == [(path, kind) for path, kind, _, _ in told(judged(primary, candidate))]


def test_a_failure_of_v1_is_no_measure_and_one_of_v2_no_rule_covers() -> None:
    """UNAVAILABLE and its like stand for 5xx."""
    fine = side(Side.PRIMARY, framed(b""))
    failed = ((b"grpc-status", b"14"),)
    broken = judged(side(Side.PRIMARY, b"", trailers=failed), side(Side.CANDIDATE, framed(b"")))
    assert ("incomparable", "primary_grpc_failed") == (broken.result, broken.reason)
    lost = judged(fine, side(Side.CANDIDATE, b"", trailers=failed), {"ignore": "header.grpc-status"}, {"ignore": "$"})
    assert ("mismatch", [("header.grpc-status", "status", "0", "14")]) == (lost.result, told(lost))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x00\x00", "ends before"),
        (framed(b"abc")[:-1], "ends before"),
        (b"\x07" + framed(b"abc")[1:], "flag 7"),
        (framed(b"abc", compressed=True), "no grpc-encoding"),
        (framed(b"\x0a\xff"), "not a shop.v1.Product"),
        (framed(b"", b""), "2 messages"),
    ],
)
def test_a_broken_body_is_a_difference_and_says_why(body: bytes, why: str) -> None:
    """On v2's side alone it counts against v2; on both, equal bytes are equal."""
    good = framed(Product(sku="A").SerializeToString())
    found = told(judged(side(Side.PRIMARY, good), side(Side.CANDIDATE, body)))
    assert [("$", "type")] == [(path, kind) for path, kind, _, _ in found]
    assert why in found[0][3]
    assert "match" == judged(side(Side.PRIMARY, body), side(Side.CANDIDATE, body)).result


def test_bounds_hold() -> None:
    """A bomb costs no more than its bound, and neither do many small messages."""
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


def test_protocol_buffers_without_grpc_have_a_type_by_route_or_content_type() -> None:
    """The configuration names it, or the server does."""
    by_route = Descriptors(descriptor_set(), [("POST /products", "shop.v1.Product")])
    one, other = Product(sku="A").SerializeToString(), Product(sku="B").SerializeToString()
    plain = {"path": "/products", "headers": ((b"content-type", b"application/x-protobuf"),), "trailers": ()}
    pair = (side(Side.PRIMARY, one, **plain), side(Side.CANDIDATE, other, **plain))
    expected = [("$['sku']", "value", '"A"', '"B"')]
    assert expected == told(judged(*pair, messages=by_route))
    assert ["bytes"] == [kind for _, kind, _, _ in told(judged(*pair))]
    named = plain | {"headers": ((b"content-type", b'application/protobuf; messageType="shop.v1.Product"'),)}
    pair = (side(Side.PRIMARY, one, **named), side(Side.CANDIDATE, other, **named))
    assert expected == told(judged(*pair))


@pytest.mark.parametrize(
    ("content", "answers", "why"),
    [
        (b"\xff\xff", [], "no descriptor set"),
        (b"", [], "empty"),
        (descriptor_set(), [("GET /x", "shop.v1.Nothing")], "no message shop.v1.Nothing"),
        (descriptor_set().replace(b"google/protobuf/any.proto", b"google/protobuf/and.proto"), [], "--include_imports"),
    ],
)
def test_descriptors_that_cannot_be_used_say_why(content: bytes, answers: list[tuple[str, str]], why: str) -> None:
    """At the start, not at the first pair."""
    with pytest.raises(DescriptorError, match=why):
        Descriptors(content, answers)


def test_descriptors_go_to_another_process() -> None:
    """Large pairs are compared in one."""
    again = pickle.loads(pickle.dumps(MESSAGES))  # noqa: S301  (our own bytes)
    assert {"sku": "A"} == again.value("shop.v1.Product", b"\x0a\x01A")
