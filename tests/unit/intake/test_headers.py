"""What goes on to v2, and what does not."""

from __future__ import annotations

import pytest

from shadowdiff.intake.headers import Marks, forwarded, has_member, read_marks

ADDED = [(b"x-shadowdiff", b"1"), (b"baggage", b"shadowdiff=1")]


def test_order_and_duplicates_are_kept() -> None:
    """Duplicate fields matter to an application, and so does their order."""
    fields = [(b"accept", b"a"), (b"cookie", b"x=1"), (b"accept", b"b")]
    assert [*fields, *ADDED] == forwarded(fields)


@pytest.mark.parametrize(
    "name",
    [
        "connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "http2-settings", "expect", "content-length", "host",
        "x-diff-id", "x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "x-shadowdiff",
    ],
)  # fmt: skip
def test_fields_of_the_hop_and_the_mesh_stay_behind(name: str) -> None:
    """They speak of the connection, the proxy or the pairing, none of which v2 is part of."""
    assert [(b"accept", b"a"), *ADDED] == forwarded([(name.encode(), b"whatever"), (b"accept", b"a")])


def test_fields_that_connection_names_stay_behind() -> None:
    """RFC 9110, section 7.6.1: any field may be declared hop-by-hop, in any of several headers."""
    sent = forwarded(
        [
            (b"x-one", b"1"),
            (b"connection", b"X-One, close"),
            (b"connection", b"x-two"),
            (b"x-two", b"2"),
            (b"x-three", b"3"),
        ]
    )
    assert [(b"x-three", b"3"), *ADDED] == sent


def test_the_baggage_member_joins_what_is_there() -> None:
    """The user's own baggage is kept, in one header."""
    sent = forwarded([(b"baggage", b"a=1"), (b"accept", b"x"), (b"baggage", b"b=2")])
    assert [(b"accept", b"x"), (b"x-shadowdiff", b"1"), (b"baggage", b"a=1,b=2,shadowdiff=1")] == sent


def test_values_go_on_byte_for_byte() -> None:
    """What v1 was sent is what v2 is sent, in whatever encoding."""
    for value in (b"M\xfcller", "Müller".encode(), b"", b"\xff\xfe"):
        assert (b"x-name", value) in forwarded([(b"x-name", value)])


@pytest.mark.parametrize(
    ("baggage", "bears"),
    [
        (b"shadowdiff=1", True),
        (b"a=b, shadowdiff=1;p=q", True),
        (b" shadowdiff = 1", True),
        (b"a=shadowdiff=1", False),
        (b"xshadowdiff=1", False),
        (b"", False),
    ],
)
def test_our_member_is_told_from_others(baggage: bytes, bears: bool) -> None:
    """Only a member with our key marks shadow traffic, not a value that mentions it."""
    assert bears == has_member(baggage)


def test_marks_are_found_in_one_pass() -> None:
    """Host, our mark in either form, and an upgrade decide what becomes of a request."""
    assert Marks(b"h", False, b"") == read_marks([(b"host", b"h"), (b"baggage", b"a=1")])
    assert read_marks([(b"x-shadowdiff", b"1")]).is_shadow
    assert read_marks([(b"baggage", b"shadowdiff=1")]).is_shadow
    assert b"websocket" == read_marks([(b"upgrade", b"WebSocket")]).upgrade
