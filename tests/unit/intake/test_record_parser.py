"""Test the two forms of a record, valid and invalid."""

from __future__ import annotations

import base64
import json

import pytest

from shadowdiff.intake import record_parser
from shadowdiff.intake.record_parser import (
    RecordError,
    host_of_line,
    observation_of_headers,
    observation_of_line,
    read_record_headers,
)
from shadowdiff.model import Observation, Side

FIELDS = {
    "id": "abc",
    "id-source": "x-diff-id",
    "method": "GET",
    "path": "/a%2Fb?x=1",
    "host": "svc:80",
    "status": "200",
}
LINE: dict[str, object] = {
    "id": "abc",
    "id_source": "x-diff-id",
    "method": "GET",
    "path": "/a%2Fb?x=1",
    "host": "svc:80",
    "status": 200,
}
WHOLE = Observation(
    side=Side.PRIMARY,
    target="t",
    id="abc",
    id_source="x-diff-id",
    method="GET",
    path="/a%2Fb?x=1",
    host="svc:80",
    status=200,
    headers=((b"set-cookie", b"a"), (b"set-cookie", b"b")),
    body=b"\x00\xff",
    body_bytes=7,
    trailers=((b"grpc-status", b"0"),),
    attempt=2,
    duration_ms=3.5,
    at_ms=9,
)


def by_headers(fields: dict[str, str], body: bytes = b"") -> Observation:
    named = [(b"x-shadowdiff-" + name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    return observation_of_headers(read_record_headers([(b"host", b"shadowdiff"), *named]), body, "t", 9)


def by_line(line: dict[str, object]) -> Observation:
    return observation_of_line(json.dumps(line).encode(), 9, 100)


def test_headers_make_an_observation() -> None:
    """Response headers keep order and duplicates. A size larger than the body means that it is truncated."""
    form = read_record_headers(
        [
            (b"host", b"shadowdiff"),
            *((b"x-shadowdiff-" + name.encode(), value.encode()) for name, value in FIELDS.items()),
            (b"x-shadowdiff-h-set-cookie", b"a"),
            (b"x-shadowdiff-h-set-cookie", b"b"),
            (b"x-shadowdiff-size", b"7"),
            (b"x-shadowdiff-attempt", b"2"),
            (b"x-shadowdiff-duration-ms", b"3.5"),
            (b"x-shadowdiff-trailer-grpc-status", b"0"),
        ]
    )
    seen = observation_of_headers(form, b"\x00\xff", "t", 9)
    assert WHOLE == seen
    assert seen.truncated


def test_a_line_makes_the_same_observation() -> None:
    """Both forms have the same fields."""
    seen = by_line(
        {
            **LINE,
            "headers": [["Set-Cookie", "a"], ["set-cookie", "b"]],
            "size": 7,
            "attempt": 2,
            "duration_ms": 3.5,
            "trailers": [["grpc-status", "0"]],
            "body_base64": base64.b64encode(b"\x00\xff").decode(),
        }
    )
    assert WHOLE.at_ms == seen.at_ms
    assert WHOLE.headers == seen.headers
    assert (WHOLE.body, 7, WHOLE.trailers, 2, 3.5) == (
        seen.body, seen.body_bytes, seen.trailers, seen.attempt, seen.duration_ms,
    )  # fmt: skip


@pytest.mark.parametrize(("text", "wire"), [("caf\u00e9", b"caf\xe9"), ("\u2713", b"\xe2\x9c\x93")])
def test_a_header_of_a_line_becomes_its_bytes_on_the_wire(text: str, wire: bytes) -> None:
    """HTTP libraries decode each byte to a character; other characters become UTF-8."""
    assert ((b"x-name", wire),) == by_line({**LINE, "headers": [["X-Name", text]]}).headers


def test_optional_fields_may_be_missing_or_empty() -> None:
    """A proxy without a value for a header may send it empty."""
    for fields in (FIELDS, {**FIELDS, "size": "", "attempt": "", "duration-ms": ""}):
        seen = by_headers(fields, b"xy")
        assert (Side.PRIMARY, 2, 0, -1.0) == (seen.side, seen.body_bytes, seen.attempt, seen.duration_ms)
    assert (0, -1.0, 0) == (by_line(LINE).attempt, by_line(LINE).duration_ms, by_line(LINE).body_bytes)


@pytest.mark.parametrize(("method", "path"), [("OPTIONS", "*"), ("M-SEARCH", "/"), ("GET", "//a?b=/c")])
def test_any_method_and_origin_request_target_is_accepted(method: str, path: str) -> None:
    """A method is any token; `*` means the whole server."""
    for seen in (
        by_headers({**FIELDS, "method": method, "path": path}),
        by_line({**LINE, "method": method, "path": path}),
    ):
        assert (method, path) == (seen.method, seen.path)


def test_an_attempt_is_capped() -> None:
    """A forged number must not outrank every later response."""
    assert 100 == by_headers({**FIELDS, "attempt": "99999"}).attempt
    assert 100 == by_line({**LINE, "attempt": 99999}).attempt


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_missing_header_is_named(name: str) -> None:
    """The error names the missing header."""
    with pytest.raises(RecordError, match=f"^x-shadowdiff-{name} is missing: "):
        by_headers({**FIELDS, name: ""})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("status", "abc", "x-shadowdiff-status is 'abc': use a number from 100 to 599"),
        ("status", "99", "x-shadowdiff-status is '99'"),
        ("status", "0200", "x-shadowdiff-status is '0200'"),
        ("method", "G T", "x-shadowdiff-method is 'G T': use one word, such as GET"),
        ("path", "nopath", "x-shadowdiff-path is 'nopath': use a path that begins with /"),
        ("path", "**", "x-shadowdiff-path is '**': use a path that begins with /"),
        ("side", "v2", "x-shadowdiff-side is 'v2': use one of primary, candidate, control"),
        ("size", "-1", "x-shadowdiff-size is '-1': use a whole number"),
        ("size", "1", "x-shadowdiff-size is 1, but the body has 2 bytes"),
        ("size", "9" * 5000, "x-shadowdiff-size is '9999"),
        ("attempt", "1.5", "x-shadowdiff-attempt is '1.5'"),
        ("attempt", "\xb2", "x-shadowdiff-attempt is '\xb2'"),
        ("duration-ms", "nan", "x-shadowdiff-duration-ms is 'nan'"),
        ("duration-ms", "inf", "x-shadowdiff-duration-ms is 'inf'"),
        ("duration-ms", "-2", "x-shadowdiff-duration-ms is '-2'"),
        ("duration-ms", "fast", "x-shadowdiff-duration-ms is 'fast'"),
        ("id", "x" * 257, "x-shadowdiff-id has more than 256 characters"),
    ],
)
def test_a_wrong_header_is_named_with_its_value(name: str, value: str, says: str) -> None:
    """One line has the header, its value and what is allowed."""
    with pytest.raises(RecordError) as refused:
        by_headers({**FIELDS, name: value}, b"xy")
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "200"}, "Expected `int`, got `str` - at `$.status`"),
        ({"status": 1000}, "status is 1000: use a number from 100 to 599"),
        ({"method": "G T"}, "method is 'G T': use one word, such as GET"),
        ({"method": "caf\u00e9"}, "method is 'caf\u00e9': use one word"),
        ({"path": "nopath"}, "path is 'nopath': use a path that begins with /"),
        ({"side": "v2"}, "Invalid enum value 'v2' - at `$.side`"),
        ({"id": ""}, "id is missing: a record needs"),
        ({"id": "x" * 257}, "id has more than 256 characters"),
        ({"body_base64": "!"}, "Invalid base64 encoded string - at `$.body_base64`"),
        ({"body_base64": base64.b64encode(b"x" * 101).decode()}, "body_base64 has more than 100 bytes"),
        ({"body_base64": "aGk=", "size": 1}, "size is 1, but the body has 2 bytes"),
        ({"attempt": -1}, "attempt is -1"),
        ({"headers": [["one"]]}, "Expected `array` of length 2 - at `$.headers[0]`"),
        ({"headers": [["a", "\ud800"]]}, "Input data was truncated"),
    ],
)
def test_a_wrong_field_of_a_line_is_named(change: dict[str, object], says: str) -> None:
    """As for headers, with the path of the field."""
    with pytest.raises(RecordError) as refused:
        by_line({**LINE, **change})
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"id":"a"}', b"\xff", b'{"id":"\xff"}', b"[" * 100_000])
def test_any_other_bytes_are_refused(line: bytes) -> None:
    """Parsing raises no other exception."""
    with pytest.raises(RecordError):
        observation_of_line(line, 9, 100)
    assert host_of_line(line) == ""


def test_a_refused_line_still_has_its_host() -> None:
    """The line counts for its target."""
    assert "svc" == host_of_line(b'{"host":"svc","status":"x"}')


@pytest.mark.parametrize("line", [b'{"x":' + b"[" * 100_000, b'{"x":' * 50_000, b"[" * 100_000])
def test_a_deeply_nested_line_is_refused(line: bytes) -> None:
    """A deeply nested line is rejected even in an unknown field, and counts without a host."""
    with pytest.raises(RecordError):
        observation_of_line(line, 9, 1 << 20)
    assert "" == host_of_line(line)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 10**30}, "size has more than 15 digits"),
        ({"duration_ms": 1e10}, "duration_ms is 10000000000.0: use a number of milliseconds, from 0 to 1000000000"),
        ({"headers": [["a", "b"]] * 900, "trailers": [["a", "b"]] * 101}, "have more than 1000 fields"),
        ({"headers": [["a", "b" * 600_000]]}, "the line has more than"),
    ],
    ids=["size", "duration", "fields", "line"],
)
def test_a_line_beyond_a_limit_is_refused(change: dict[str, object], says: str) -> None:
    """The store must hold every number, and a line takes many times its bytes in memory."""
    with pytest.raises(RecordError, match=says):
        by_line({**LINE, **change})


def test_a_long_name_of_a_header_is_read_but_not_cached() -> None:
    """Names may have as many bytes as a head, so the cache limits its keys."""
    prefix, name = b"x-shadowdiff-h-", b"n" * 60_000
    for sent in (name, b"etag"):
        assert [(sent, b"1")] == read_record_headers([(prefix + sent, b"1")]).headers
    assert prefix + b"etag" in record_parser._response_names  # pyright: ignore[reportPrivateUsage]
    assert prefix + name not in record_parser._response_names  # pyright: ignore[reportPrivateUsage]
