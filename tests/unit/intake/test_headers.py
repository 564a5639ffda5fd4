"""Test which header fields are sent to v2."""

from __future__ import annotations

import pytest

from shadowdiff.intake.routing import has_member, read_routing_headers
from shadowdiff.intake.upstream import forwarded_headers, is_grpc

ADDED = [(b"x-shadowdiff", b"1"), (b"baggage", b"shadowdiff=1")]


def test_order_and_duplicates_are_kept() -> None:
    """Duplicate fields and their order matter to an application."""
    fields = [(b"accept", b"a"), (b"cookie", b"x=1"), (b"accept", b"b")]
    assert [*fields, *ADDED] == forwarded_headers(fields)


@pytest.mark.parametrize(
    "name",
    [
        "connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "http2-settings", "expect", "content-length", "host",
        "x-diff-id", "x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "x-shadowdiff",
    ],
)  # fmt: skip
def test_hop_by_hop_and_mesh_fields_are_not_forwarded(name: str) -> None:
    """These fields describe the connection, the proxy or the pairing, and not the request."""
    assert [(b"accept", b"a"), *ADDED] == forwarded_headers([(name.encode(), b"whatever"), (b"accept", b"a")])


def test_fields_listed_in_connection_are_not_forwarded() -> None:
    """Under RFC 9110, section 7.6.1, any header may be declared hop-by-hop."""
    sent = forwarded_headers(
        [
            (b"x-one", b"1"),
            (b"connection", b"X-One, close"),
            (b"connection", b"x-two"),
            (b"x-two", b"2"),
            (b"x-three", b"3"),
        ]
    )
    assert [(b"x-three", b"3"), *ADDED] == sent


def test_the_baggage_member_is_added_to_the_users_baggage() -> None:
    """The header contains both."""
    sent = forwarded_headers([(b"baggage", b"a=1"), (b"accept", b"x"), (b"baggage", b"b=2")])
    assert [(b"accept", b"x"), (b"x-shadowdiff", b"1"), (b"baggage", b"a=1,b=2,shadowdiff=1")] == sent


def test_values_are_forwarded_byte_for_byte() -> None:
    """The values keep any encoding."""
    for value in (b"M\xfcller", "Müller".encode(), b"", b"\xff\xfe"):
        assert (b"x-name", value) in forwarded_headers([(b"x-name", value)])


@pytest.mark.parametrize(
    ("baggage", "is_marked"),
    [
        (b"shadowdiff=1", True),
        (b"a=b, shadowdiff=1;p=q", True),
        (b" shadowdiff = 1", True),
        (b"a=shadowdiff=1", False),
        (b"xshadowdiff=1", False),
        (b"", False),
    ],
)
def test_only_a_member_with_our_key_marks_shadow_traffic(baggage: bytes, is_marked: bool) -> None:
    """A value that only contains the key does not count."""
    assert is_marked == has_member(baggage)


def test_routing_headers_are_read() -> None:
    """Host, either mark of shadow traffic, and an upgrade decide where a request goes."""
    assert (b"h", False, b"") == read_routing_headers([(b"host", b"h"), (b"baggage", b"a=1")])
    assert (b"", True, b"") == read_routing_headers([(b"x-shadowdiff", b"1")])
    assert (b"", True, b"") == read_routing_headers([(b"baggage", b"shadowdiff=1")])
    assert (b"", False, b"websocket") == read_routing_headers([(b"upgrade", b"WebSocket")])


@pytest.mark.parametrize(
    ("content_type", "is_call"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"Application/gRPC", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/grpc-web-text", False),
        (b"application/grpcx", False),
        (b"text/plain; a=application/grpc", False),
    ],
)
def test_only_grpc_uses_http2(content_type: bytes, *, is_call: bool) -> None:
    """gRPC-Web uses HTTP/1.1, as browsers do."""
    assert is_call is is_grpc([(b"host", b"a"), (b"content-type", content_type)])
