"""Messages inside multipart bodies match if and only if they have equal parts, start lines, headers and values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare import Limits
from shadowdiff.compare.formats import BrokenBodyError, format_of
from shadowdiff.compare.formats.multipart import MAX_NESTING
from shadowdiff.model import Result
from shadowdiff.rules.builtin import MULTIPART_BOUNDARY
from tests.fakes.responses import judged
from tests.property.test_formats import compared

if TYPE_CHECKING:
    from random import Random

    from shadowdiff.rules.json_values import Value

HALF: Final = 0.5
VALUES: Final = st.sampled_from([{"b": 2, "a": 1}, {"a": 1}, [1], "x"])
STARTS: Final = st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "GET /x HTTP/1.1", "POST /x HTTP/1.1"])
JSON_PARTS: Final = st.tuples(st.just("json"), VALUES)
PARTS: Final = st.recursive(
    st.one_of(JSON_PARTS, st.tuples(st.just("text"), st.sampled_from(["", "x", "--b", "x\r\n"]))),
    lambda inner: st.one_of(
        st.tuples(st.just("multipart"), st.lists(inner, min_size=1, max_size=3)),
        st.tuples(st.just("http"), st.tuples(STARTS, st.sampled_from(["", "1", "2"]), inner)),
    ),
    max_leaves=5,
)


def write(part: Any, random: Random, level: int) -> tuple[list[str], str]:
    """Return the headers and the body of a part, with a random boundary, member order and headers without meaning."""
    kind, content = part
    if kind == "multipart":
        boundary = f"b{level}-{random.randrange(3)}"
        return [f"Content-Type: multipart/mixed; boundary={boundary}"], multipart(content, boundary, random, level + 1)
    if kind == "http":
        start, tag, inner = content
        headers, body = write(inner, random, level)
        headers = [*headers, *([f"X-Tag: {tag}"] if tag else []), f"Date: {random.random()}"]
        headers += random.choice([[], [f"Content-Length: {len(body)}"]])
        random.shuffle(headers)
        return ["Content-Type: application/http"], "\r\n".join([start, *headers, "", body])
    if kind == "json":
        return ["Content-Type: application/json"], json.dumps(content, sort_keys=random.random() < HALF)
    return ["Content-Type: text/plain"], content


def multipart(parts: Any, boundary: str, random: Random, level: int = 0) -> str:
    """Return a multipart body."""
    written = [write(part, random, level) for part in parts]
    return (
        "".join(
            f"--{boundary}\r\n" + "".join(f"{line}\r\n" for line in headers) + f"\r\n{body}\r\n"
            for headers, body in written
        )
        + f"--{boundary}--\r\n"
    )


@given(
    st.lists(PARTS, min_size=1, max_size=3), st.lists(PARTS, min_size=1, max_size=3), st.randoms(use_true_random=False)
)
def test_messages_match_if_their_parts_are_equal(one: Any, other: Any, random: Any) -> None:
    """A different boundary is noted; nothing else is hidden, however deep it is."""
    media_type = "multipart/mixed; boundary=outer"
    body = multipart(one, "outer", random).encode()
    for parts in (one, other):
        found = compared(body, multipart(parts, "outer", random).encode(), media_type)
        assert (found.result is not Result.MISMATCH) == (one == parts)
        assert {None, MULTIPART_BOUNDARY.label} >= {difference.rule for difference in found.differences}


def nested(levels: int) -> bytes:
    """Return multipart bodies inside each other."""
    body = "x"
    for level in range(levels, 0, -1):
        inner = "text/plain" if level == levels else f"multipart/mixed; boundary=b{level}"
        body = f"--b{level - 1}\r\nContent-Type: {inner}\r\n\r\n{body}\r\n--b{level - 1}--"
    return body.encode()


def depth(value: Value) -> int:
    """Return how many parts are read inside each other."""
    part = value[0] if isinstance(value, list) else None
    return 1 + depth(part.get("body")) if isinstance(part, dict) else 0


@pytest.mark.parametrize("levels", [1, MAX_NESTING, MAX_NESTING + 1, MAX_NESTING + 2, 2000])
def test_messages_nest_to_a_limit(levels: int) -> None:
    """Deeper parts are compared as bytes."""
    format_, media = format_of(b"multipart/mixed; boundary=b0")
    value = format_.try_value(nested(levels), media)
    assert not isinstance(value, BrokenBodyError)
    assert min(levels, MAX_NESTING + 1) == depth(value)
    headers = ((b"content-type", b"multipart/mixed; boundary=b0"),)
    other = nested(levels).replace(b"\r\nx", b"\r\ny")
    assert Result.MISMATCH is judged(nested(levels), other, headers=headers, limits=Limits()).result


PIECES: Final = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"GET / HTTP/1.1", b"Content-Type: application/json", b"Content-Length: 2",
    b"{}", b"X: y", b": ", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"Content-Type: multipart/mixed; boundary=b",
    b"--b", b"--b--",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=10).map(b"".join), st.lists(st.sampled_from(PIECES), max_size=10))
def test_any_http_message_has_a_result(one: bytes, other: list[bytes]) -> None:
    """Whatever the bytes are, a body equals itself, and comparing it raises no exception."""
    headers = ((b"content-type", b"application/http"),)
    assert Result.MATCH is judged(one, bytes(bytearray(one)), headers=headers).result
    there, back = (judged(*pair, headers=headers).result for pair in ((one, b"".join(other)), (b"".join(other), one)))
    assert (there is Result.MATCH) == (back is Result.MATCH)
