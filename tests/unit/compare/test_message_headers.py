"""Test how the headers of messages inside a body are read: names, lists, dates, cookies and URLs."""

from __future__ import annotations

from typing import Any

import pytest

from shadowdiff.compare.message_headers import messages_in
from tests.unit.compare.comparing import compared, counted

RESPONSE = "multipart/mixed; boundary=b"


def batch(*lines: str, kind: str = "application/http") -> str:
    """Return a batch with one response that has these header lines."""
    return "\r\n".join(["--b", f"Content-Type: {kind}", "", "HTTP/1.1 200 OK", *lines, "", "x", "--b--"])


def part(*lines: str) -> str:
    """Return a multipart body with one part that has these header lines."""
    return "\r\n".join(["--b", *lines, "", "x", "--b--"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["Vary: a, B"], ["vary: b", "Vary: A"]),
        (["X-List: a", "X-List: b"], ["x-list: a, b"]),
        (['ETag: "1"'], ['etag: "2"']),
        (["Last-Modified: x"], ["Last-Modified: y"]),
        (["Expires: Tue, 01 Jan 2030 00:00:00 GMT"], ["Expires: Wed, 02 Jan 2030 00:00:00 GMT"]),
        (
            ["Set-Cookie: a=1; Path=/; Secure", "Set-Cookie: b=1"],
            ["set-cookie: b=2", "set-cookie: a=3; secure; path=/"],
        ),
        (
            ["Set-Cookie: a=1; Path=/x", "Set-Cookie: a=1; Path=/y"],
            ["Set-Cookie: a=1; Path=/y", "Set-Cookie: a=1; Path=/x"],
        ),
        (["Strict-Transport-Security: max-age=1; preload"], ["strict-transport-security: Preload;max-age=1"]),
    ],
)
def test_the_grammar_of_responses_applies(one: list[str], other: list[str]) -> None:
    """Two headers that are equal in a response are equal in an HTTP message and in a part."""
    assert [] == counted(compared((batch(*one), batch(*other)), kind=RESPONSE))
    assert [] == counted(compared((part(*one), part(*other)), kind=RESPONSE))


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ("Vary: a, b", "Vary: a", "['vary']"),
        ('ETag: "1"', 'ETag: W/"1"', "['etag']"),
        ("Set-Cookie: a=1; Secure", "Set-Cookie: a=1", "['set-cookie']['a']"),
        ("Set-Cookie: a=1", "Set-Cookie: a=", "['set-cookie']['a']"),
        ("Expires: Tue, 01 Jan 2030 00:00:00 GMT", "Expires: 0", "['expires']"),
        ("X-List: a, b", "X-List: b, a", "['x-list']"),
        ("Content-Type: text/plain; a=1", "Content-Type: text/plain; a=2", None),
    ],
)
def test_other_differences_count(one: str, other: str, path: str | None) -> None:
    """The grammar hides no other difference."""
    found = [name for name, _, _ in counted(compared((batch(one), batch(other)), kind=RESPONSE))]
    assert found == [f"$[0]['body']['headers']{path}" if path else "$[0]['body']['parameters']['a']"]


def test_a_message_is_dated_by_its_own_date() -> None:
    """Whether a message has expired depends on its `Date`, which is not compared."""
    expires = "Expires: Tue, 02 Jan 2024 00:00:00 GMT"
    before, after = (f"Date: Mon, 0{day} Jan 2024 12:00:00 GMT" for day in (1, 3))
    assert [("$[0]['body']['headers']['expires']", '"future"', '"past"')] == counted(
        compared((batch(before, expires), batch(after, expires)), kind=RESPONSE)
    )


@pytest.mark.parametrize("line", ["X-\udcff: \udcff", "Vary: \udcff", "Content-Type: \udcff", "no header", ": x"])
def test_any_line_is_compared(line: str) -> None:
    """Lines that are no headers, and bytes that are no text, differ from each other and equal themselves."""
    texts = [
        batch("Content-Type: text/plain", text).encode("utf-8", "surrogateescape").decode("latin-1")
        for text in (line, f"{line}y")
    ]
    assert [] == counted(compared((texts[0], f"preamble\r\n{texts[0]}"), kind=RESPONSE))
    assert counted(compared((texts[0], texts[1]), kind=RESPONSE))


def test_all_messages_are_found() -> None:
    """Parts, nested parts and HTTP messages are messages; a value of another type is not."""
    inner: dict[str, Any] = {"type": "application/json", "body": {"type": "multipart/mixed", "body": []}}
    response: dict[str, Any] = {"type": "multipart/mixed", "status": 200, "body": [inner]}
    value: list[Any] = [{"type": "application/http", "body": response}, {"type": "multipart/mixed", "bytes": ""}]
    assert [value[0], response, inner, value[1]] == [message for _, message in messages_in(value)]
