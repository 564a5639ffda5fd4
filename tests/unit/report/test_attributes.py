"""Test which attributes a pair has, and that none shows a secret."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from shadowdiff.model import Side
from shadowdiff.report import Redactor
from shadowdiff.report.attributes import (
    DEFAULT_HEADERS,
    MOST_ATTRIBUTES,
    MOST_HEADERS,
    MOST_PARAMETERS,
    Attribute,
    Source,
    attributes_of,
)
from shadowdiff.report.secret_span import INLINE_WORK
from tests.fakes.traffic import observation, pair

REDACTOR = Redactor(b"a key")
SECRET = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"


def found(
    *, path: str = "/products/17", route: str = "GET /products/{id}", body: Any = None, request: Any = (), **v1: Any
) -> list[Attribute]:
    """Return the attributes of a pair with these parts."""
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    primary = observation(Side.PRIMARY, sent, **v1)
    candidate = observation(Side.CANDIDATE, path=path, request_headers=request)
    return list(attributes_of(pair(primary, candidate, route=route), REDACTOR, DEFAULT_HEADERS, b"x-version"))


def texts(source: Source, attributes: list[Attribute]) -> list[str]:
    return [one.text for one in attributes if one.source is source]


@pytest.mark.parametrize(
    ("route", "path", "expected"),
    [
        ("GET /products/{id}", "/products/13?a=b", ["/products/13"]),
        ("GET /u/{id}/o/{date}", "/u/7/o/2026-01-01", ["/u/7/o/{date}", "/u/{id}/o/2026-01-01"]),
        ("GET /products/{id}.json", "/products/105.json", ["/products/105.json"]),
        ("GET /", "/", []),
        ("_other", "/a/b", []),
        ("POST /graphql#Cart", "/graphql", []),
    ],
)  # fmt: skip
def test_path_shows_the_value_of_one_placeholder(route: str, path: str, expected: list[str]) -> None:
    """Each placeholder of the route is an attribute of its own."""
    assert expected == texts(Source.PATH, found(route=route, path=path))


def test_parameters_are_decoded_and_limited() -> None:
    """The first parameters by name are kept, so that all pairs keep the same."""
    query = "&".join(f"p{number}=a+%2Fb" for number in reversed(range(9)))
    shown = texts(Source.QUERY, found(path=f"/products/17?{query}"))
    assert [f"query p{number} = a /b" for number in range(MOST_PARAMETERS)] == shown


def test_only_declared_headers_are_attributes() -> None:
    """Other headers may identify a person."""
    sent = tuple((name.encode(), b"x") for name in (*DEFAULT_HEADERS, "x-customer", "cookie"))
    shown = texts(Source.HEADER, found(request=sent))
    assert [f"header {name} = x" for name in DEFAULT_HEADERS[:MOST_HEADERS]] == shown


def test_response_of_v1_is_described() -> None:
    """Status, type, size, instance and revision are attributes."""
    headers = ((b"content-type", b"Text/HTML; charset=utf-8"), (b"x-served-by", b"web-1"), (b"x-version", b"2.2.9"))
    v1 = observation(Side.PRIMARY, b"x" * 5000, status=404, headers=headers)
    v2 = observation(Side.CANDIDATE, headers=((b"x-version", b"2.3.1"),), request_headers=())
    shown = [one.text for one in attributes_of(pair(v1, v2), REDACTOR, (), b"x-version")]
    expected = ["v1 status = 404", "v1 content-type = text/html", "v1 body has 4–16 KiB", "v2 x-version = 2.3.1"]
    assert [*expected, "v1 x-served-by = web-1", "v1 x-version = 2.2.9"] == shown[2:]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "is empty"), (1024, "is below 1 KiB"), (1025, "has 1–4 KiB"), (2**21, "is above 1 MiB")],
)  # fmt: skip
def test_size_is_a_class(size: int, expected: str) -> None:
    """Exact sizes differ between responses that are alike."""
    assert [f"v1 body {expected}"] == texts(Source.SIZE, found(body_bytes=size))


def test_values_that_may_repeat_are_attributes_of_the_body() -> None:
    """Words and flags come first. Times, prices, ids of many digits, and long texts are left out."""
    body = {
        "id": 13,
        "category": "garden",
        "text": "Does what it should, and arrived on time.",
        "price": {"amount": 4.99, "currency": "EUR"},
        "at": "2026-03-01T10:00:00Z",
        "order": "A-1234567",
        "open": True,
        "none": None,
        "tags": ["garden", "row 3"],
        "items": [{"state": "new"}, {"state": "old"}, {"state": "new"}],
        "4711": "x",
        "number": 12345678,
    }
    shown = texts(Source.BODY, found(body=body))
    words = ["category = garden", "open = true", "none = null", "price.currency = EUR", "tags[*] = garden"]
    words += ["items[*].state = new", "items[*].state = old"]
    assert [*words, "id = 13", "tags[*] = row 3"] == shown


def test_attributes_are_limited() -> None:
    """A body with many values does not displace the request."""
    shown = found(path="/products/17?a=b", body={f"n{number}": "x" for number in range(100)})
    assert MOST_ATTRIBUTES == len(shown)
    assert Source.QUERY in {one.source for one in shown}


@pytest.mark.parametrize("body", [b"<html>", b"{", b'{"a": 1', b"\xff\xfe", b"[" * 5000, b'{"a": "b"}' + b" " * 20_000])
def test_other_bodies_have_no_values(body: bytes) -> None:
    """A body that is no JSON, is damaged, or is too large has only its size."""
    assert [] == texts(Source.BODY, found(body=body))


def test_compressed_body_is_read() -> None:
    """A body is decompressed up to a limit."""
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))
    assert ["a = b"] == texts(Source.BODY, found(body=gzip.compress(b'{"a": "b"}'), headers=headers))


def test_truncated_body_has_no_values() -> None:
    """The rest of the body might have other values."""
    assert [] == texts(Source.BODY, found(body={"a": "b"}, body_bytes=1000))


def test_secrets_are_hashed() -> None:
    """A secret in path, query, header or body is its placeholder, so equal secrets are still equal."""
    body = {
        "password": "hunter",
        "state": "new",
        "owner": "x",
        "pin_code": 1234,
        "fields": [{"name": "token", "value": "abcd"}],
    }
    shown = found(
        path=f"/products/{SECRET}?api_key=hunter&mail=jo%40example.com",
        request=((b"user-agent", f"curl {SECRET}".encode()), (b"origin", b"https://jo:hunter@example.com")),
        body=body,
    )
    every = " ".join(one.text for one in shown)
    assert all(secret not in every for secret in (SECRET, "hunter", "jo@example.com", "abcd", "1234")), every
    assert "state = new" in every
    assert f"/products/{REDACTOR.secret(SECRET)}" == texts(Source.PATH, shown)[0]


def test_long_values_are_their_hash() -> None:
    """A long value is never cut, because a part of it could not be erased."""
    (shown,) = texts(Source.HEADER, found(request=((b"user-agent", b"agent " * 50),)))
    assert "header user-agent = a text of 300 characters ‹redacted:" in shown
    assert "agent agent" not in shown


def test_work_is_limited() -> None:
    """A request that takes too long to redact has fewer attributes, and raises no error."""
    many = "&".join(f"a{number}=%2525{number}" for number in range(INLINE_WORK))
    assert len(found(path=f"/products/17?{many}", body={"a": "b"})) < MOST_ATTRIBUTES


def test_cached_values_follow_the_key_of_the_redactor() -> None:
    """The key of all processes replaces the first one, and the caches of the first one are dropped."""
    redactor = Redactor(b"a key")
    one = pair(observation(Side.PRIMARY, b'{"password": "hunter", "state": "new"}'))
    before = attributes_of(one, redactor)
    assert before == attributes_of(one, redactor)
    redactor.rekey(b"another key")
    after = attributes_of(one, redactor)
    assert before != after
    assert ["state = new"] == [same.text for same in before if same in after and same.source is Source.BODY]
