"""A setting can name the type of a body; bodies that are broken on both sides are compared as text."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.compare import Limits, proposed_type
from shadowdiff.compare.formats import format_of, named_type
from shadowdiff.compare.formats.xml import MAX_NAMESPACE_CHARS
from shadowdiff.model import Kind, Result, Side
from shadowdiff.rules.builtin import BOTH_BROKEN
from tests.fakes.responses import ROUTE, judged, pair_of, response

if TYPE_CHECKING:
    from shadowdiff.model import Headers

TEXT: Headers = ((b"content-type", b"text/plain"),)
XML: Headers = ((b"content-type", b"application/xml"),)
TYPES = (("*", "text/plain"), ("/a", "text/xml"), ("GET /a", "application/json"))


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("GET /a", b"application/json"),
        ("GET /a#Op", b"application/json"),
        ("HEAD /a", b"text/xml"),
        ("GET /b", b"text/plain"),
        ("_other", b"text/plain"),
    ],
)
def test_the_most_exact_route_names_the_type(route: str, expected: bytes) -> None:
    """A route with its method comes before the path, and the path before every route."""
    assert expected == named_type(TYPES, route)
    assert b"" == named_type((), route)


@pytest.mark.parametrize(
    ("sent", "named", "charset"),
    [
        (b"text/plain; charset=iso-8859-1", b"application/json", "iso-8859-1"),
        (b"text/plain; charset=iso-8859-1", b"application/json; charset=utf-16", "utf-16"),
        (b"", b"application/json", ""),
    ],
)
def test_a_named_type_keeps_the_parameters_of_the_content_type(sent: bytes, named: bytes, charset: str) -> None:
    """The parameters of the setting have priority."""
    format_, media = format_of(sent, named)
    assert ("Json", "application/json", charset) == (type(format_).__name__, media.name, media.charset)


def test_a_stored_sample_of_a_decoded_body_stays_json() -> None:
    """Samples show messages as JSON, so the setting no longer describes the stored body."""
    stored = b'application/json; from="application/octet-stream"'
    assert "Json" == type(format_of(stored, b"application/protobuf")[0]).__name__


def test_requirements_and_rules_read_a_body_by_its_named_type() -> None:
    """`require` finds its place in the named type, too."""
    limits = Limits(body_types=((ROUTE, "application/json"),))
    found = judged(b'{"v": 1, "x": 1}', b'{"v": 2, "x": 2}', {"require": "$.v"}, headers=TEXT, limits=limits)
    assert (Result.INCOMPARABLE, "require $.v") == (found.result, found.reason)


def proposed(one: bytes, other: bytes, *headers: Headers, **limits: Any) -> str:
    """Return the type that is proposed for two bodies."""
    sides = response(Side.PRIMARY, one, headers[0]), response(Side.CANDIDATE, other, headers[-1])
    return proposed_type(pair_of(*sides), Limits(**limits))


def test_a_type_is_proposed_only_if_both_bodies_have_it() -> None:
    """The proposal decodes content codings, within the limits; a configured type is final."""
    zipped: Headers = (*TEXT, (b"content-encoding", b"gzip"))
    bomb = gzip.compress(b"[" + b" " * (1 << 20) + b"]")
    assert "application/json" == proposed(b'{"a":1}', b"[]", TEXT)
    assert "application/json" == proposed(gzip.compress(b"[]"), b"[1]", zipped, TEXT)
    assert "application/x-ndjson" == proposed(b"[]\n[]", b"[1]\n{}\n", TEXT)
    assert "" == proposed(b"[]\n[]", b"[1]", TEXT)
    assert "" == proposed(b"[1", b"[1]", TEXT)
    assert "" == proposed(bomb, b"[1]", zipped, TEXT, decoded_bytes=4096)
    assert "" == proposed(b'{"a":1}', b"[]", TEXT, body_types=(("*", "text/plain"),))


@pytest.mark.parametrize(("one", "other"), [(b'{"a": 1}', b'{"a": 1'), (b'{"a": 1', b'{"a": 1}')])
@pytest.mark.parametrize("rule", [{"mask": {"path": "text", "pattern": "(?s).*"}}, {"ignore": "text"}])
def test_no_text_rule_covers_a_body_that_only_one_side_breaks(one: bytes, other: bytes, rule: object) -> None:
    """A broken body of one side is a `type` difference of the whole body, never text."""
    found = judged(one, other, rule)
    assert (Result.MISMATCH, [(Kind.TYPE, "$", None)]) == (
        found.result,
        [(place.kind, place.path, place.rule) for place in found.differences],
    )


def test_bodies_that_are_broken_on_both_sides_keep_a_note() -> None:
    """The note says why each body is broken, and does not count."""
    found = judged(b"<p>1</p>", b"[2", {"mask": {"path": "text", "pattern": "^.*$"}})
    note, text = found.differences
    assert (Result.IGNORED, BOTH_BROKEN.label) == (found.result, note.rule)
    assert (note.primary or "").startswith("broken (Expecting value at character 0")
    assert (note.candidate or "").startswith("broken (Expecting ',' delimiter")
    assert ("text[0]", "mask text") == (text.path, text.rule)


def test_a_byte_order_mark_of_broken_bodies_is_noted_once() -> None:
    """The comparison as text starts again with the bodies as they were sent."""
    found = judged(b"\xef\xbb\xbf<p>", b"<p>")
    assert ["bytes[0]", "$"] == [place.path for place in found.differences]


def test_a_long_namespace_is_a_broken_body() -> None:
    """Each qualified name contains its namespace, so a long one would need memory for each element."""

    def document(chars: int, leaf: bytes) -> bytes:
        return b'<r xmlns:p="%s"><p:a>%s</p:a></r>' % (b"u" * chars, leaf)

    fits = judged(*(document(MAX_NAMESPACE_CHARS, leaf) for leaf in (b"1", b"2")), headers=XML)
    long = judged(*(document(MAX_NAMESPACE_CHARS + 1, leaf) for leaf in (b"1", b"2")), headers=XML)
    assert [Kind.VALUE] == [place.kind for place in fits.differences]
    assert [Kind.TEXT, Kind.TYPE] == [place.kind for place in long.differences]


def test_a_prefix_is_resolved_where_it_is_declared() -> None:
    """An inner declaration of the same prefix ends with its element."""
    one = b'<r xmlns:p="urn:1"><a xmlns:p="urn:2">p:x</a><b>p:x</b><c k="p:y">:x</c></r>'
    other = b'<r xmlns:q="urn:1" xmlns:s="urn:2"><a>s:x</a><b>q:x</b><c k="q:y">:x</c></r>'
    assert judged(one, other, headers=XML).result is Result.MATCH
    swapped = b'<r xmlns:q="urn:1" xmlns:s="urn:2"><a>q:x</a><b>s:x</b><c k="q:y">:x</c></r>'
    assert ["$['r']['a'][0]['#text']", "$['r']['b'][0]['#text']"] == [
        place.path for place in judged(one, swapped, headers=XML).differences
    ]
