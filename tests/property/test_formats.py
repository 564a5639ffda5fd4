"""Two bodies with different bytes match only because of a normalization that docs/comparing.md lists.

For each format, bodies must match if and only if a simple parser reads equal values. The parser uses no code of
shadowdiff.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import brotli
import pytest
import zstandard
from defusedxml import minidom
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shadowdiff.compare.formats import format_of
from shadowdiff.compare.headers import value_of
from shadowdiff.model import Comparison, Result
from tests.fakes.responses import judged
from tests.golden.cases import load, names

if TYPE_CHECKING:
    from collections.abc import Callable

BOM: Final = b"\xef\xbb\xbf"


def compared(one: bytes, other: bytes, media_type: str, *codings: str) -> Comparison:
    """Compare two bodies of a media type; `codings` has the content coding of each side, if any."""
    named = [(b"content-encoding", coding.encode()) for coding in codings]
    kind = (b"content-type", media_type.encode())
    return judged(one, other, headers=(kind, *named[:1]), headers_other=(kind, *named[1:]))


def match(one: bytes, other: bytes, media_type: str) -> bool:
    """Return whether two bodies match, and check that the result is otherwise `mismatch`."""
    found = compared(one, other, media_type)
    assert found.result in {Result.MATCH, Result.MISMATCH}
    return found.result is Result.MATCH


def glued(pieces: list[bytes], most: int = 8) -> st.SearchStrategy[bytes]:
    """Draw bodies from a few pieces, so that different bytes often have the same meaning."""
    return st.lists(st.sampled_from(pieces), max_size=most).map(b"".join)


# -- text/event-stream ---------------------------------------------------------------------------------------------

SSE: Final = [
    b"data: 1", b"data:1", b"data:  1", b"data", b'data: {"a":1,"b":2}', b'data: {"b":2, "a":1}', b"id: 7", b"id:8",
    b"event: x", b"retry: 5", b": note", b"unknown: 1", b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\n\n",
]  # fmt: skip


def read_sse(body: bytes) -> list[Any]:
    """Parse blocks of lines.

    Return each field's last value, the data lines, and whether a blank line ends the block.
    """
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    found: list[Any] = []
    *blocks, rest = re.split(r"(?<![^\n])\n", text)
    for block, ended in [*((block, True) for block in blocks), (rest, False)]:
        fields: dict[str, str] = {}
        data: list[str] = []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value[1:] if value[:1] == " " else value
            if name == "data":
                data.append(value)
            elif name in {"event", "id", "retry"}:
                fields[name] = value
        if fields or data:
            found.append((fields, [read_data("\n".join(data))] if data else [], ended))
    return found


def read_data(text: str) -> Any:
    """Parse an object or array as JSON. Return other data as text."""
    try:
        return json.loads(text) if text[:1] in {"{", "["} else text
    except ValueError:
        return text


@given(glued(SSE, 12), glued(SSE, 12))
@example(b"data: 1\n\ndata: 2\n", b"data: 1\n\ndata: 2\n\n")
def test_event_streams_match_if_their_events_are_equal(one: bytes, other: bytes) -> None:
    """In server-sent events, line ends, comments, unknown fields and the order of different fields do not matter."""
    assert match(one, other, "text/event-stream") == (read_sse(one) == read_sse(other))


# -- NDJSON --------------------------------------------------------------------------------------------------------

NDJSON: Final = [
    b'{"a":1,"b":2}',
    b'{"b":2, "a":1}',
    b"[1]",
    b"[ 1 ]",
    b"1",
    b"12",
    b'"x"',
    b'"\\u0078"',
    b"\n",
    b"\n",
    b"\r\n",
    b" ",
    b"\x1e",
    b"{",
]


def read_ndjson(body: bytes) -> list[Any] | None:
    """Parse one value from each line that is not blank. Return None if a line is not JSON."""
    try:
        return [json.loads(line) for line in body.decode().split("\n") if line.strip(" \t\r")]
    except ValueError:
        return None


@given(glued(NDJSON), glued(NDJSON))
def test_ndjson_matches_if_its_lines_are_equal(one: bytes, other: bytes) -> None:
    """Bodies with lines that are not JSON match only if their bytes are equal."""
    read = read_ndjson(one)
    expected = one == other or (read is not None and read == read_ndjson(other))
    assert match(one, other, "application/x-ndjson") == expected


# -- application/x-www-form-urlencoded -----------------------------------------------------------------------------

FORM: Final = [
    b"a=1",
    b"a=2",
    b"b=1",
    b"%61=1",
    b"&",
    b"&",
    b"a=x+y",
    b"a=x%20y",
    b"a=%2B",
    b"token",
    b"%",
    b"=",
    b"%zz",
    b"%C3%A4",
]


def read_form(body: bytes) -> dict[str, list[str]] | None:
    """Parse a form into the values of each name. Return None for an invalid form."""
    fields: dict[str, list[str]] = {}
    valued = not body
    for pair in filter(None, body.decode().split("&")):
        name, equals, value = pair.partition("=")
        if equals and not re.fullmatch(r"[A-Za-z0-9*._+%\[\]$@:~!/-]{1,64}", name):
            return None
        valued = valued or bool(equals and value.strip("="))
        fields.setdefault(unquote_plus(name) if equals else "", []).append(unquote_plus(value if equals else pair))
    return fields if valued else None


@given(glued(FORM), glued(FORM))
@example(b"a=1&=x", b"a=1&x")
def test_forms_match_if_each_name_has_the_same_values(one: bytes, other: bytes) -> None:
    """In forms, escapes and the order of fields with different names do not matter."""
    read = read_form(one)
    expected = one == other or (read is not None and read == read_form(other) and bool(one) == bool(other))
    assert match(one, other, "application/x-www-form-urlencoded") == expected


# -- multipart -----------------------------------------------------------------------------------------------------

Part = tuple[list[tuple[str, str]], bytes]
PART_HEADERS: Final = [
    ("Content-Range", "bytes 0-0/9"), ("Content-Range", "bytes 7-7/9"), ("Content-ID", "<1>"), ("Content-ID", "<2>"),
    ("Content-Transfer-Encoding", "base64"), ("Content-Disposition", 'form-data; name="a"'),
    ("Content-Disposition", 'attachment; name="a"'), ("Content-Disposition", 'form-data; name="a"; filename*=x'),
    ("Content-Type", "text/plain; charset=utf-8"), ("Content-Type", "text/plain"), ("Content-Type", "text/html"),
    ("Content-Type", "application/octet-stream"), ("X-A", "1"),
]  # fmt: skip
PARTS: Final = st.lists(
    st.tuples(
        st.lists(st.sampled_from(PART_HEADERS), max_size=3),
        st.sampled_from([b"", b"x", b"\r\n", b"x\r\n\r\ny", b"--b", b"\xff", b"/w==", b"eA=="]),
    ),
    max_size=3,
)


def write_multipart(parts: list[Part], boundary: str, *, loose: bool) -> bytes:
    """Write parts.

    Draw a multipart body; `loosely` varies case, blanks, the order of different headers, and the text around the parts.
    """
    out = [b"before\r\n"] if loose else []
    for headers, body in parts:
        lines = sorted(headers, key=lambda each: each[0]) if loose else headers
        head = "".join(f"{n.upper()}: \t{v} \r\n" if loose else f"{n}: {v}\r\n" for n, v in lines)
        out.append(f"--{boundary}{' ' * loose}\r\n{head}\r\n".encode() + body + b"\r\n")
    return b"".join([*out, f"--{boundary}--\r\n".encode(), b"after" if loose else b""])


def read_part(part: Part) -> Any:
    """Parse a part of a multipart body. A part without Content-Type is text."""
    headers, body = part
    found: dict[str, list[str]] = {"content-type": []}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    found["content-type"] = found["content-type"] or ["text/plain"]
    return found, body


@given(PARTS, PARTS, st.booleans())
def test_multipart_bodies_match_if_their_parts_are_equal(one: list[Part], other: list[Part], loose: bool) -> None:
    """The boundary, text around parts, and the order and case of header names do not matter in multipart bodies."""
    bodies = write_multipart(one, "b0", loose=False), write_multipart(other, "b0", loose=loose)
    expected = [*map(read_part, one)] == [*map(read_part, other)]
    assert match(*bodies, "multipart/mixed; boundary=b0") == (expected or bodies[0] == bodies[1])
    assert match(bodies[0], write_multipart(one, "b0", loose=True), "multipart/mixed; boundary=b0")


# -- XML -----------------------------------------------------------------------------------------------------------

TEXTS: Final = st.sampled_from(
    ["", "", " ", "\n", "a", "b", " a ", "\u00a0", "&lt;", "<![CDATA[a]]>", "<!-- n -->", "<?p i?>"]
)
LEAF: Final = st.tuples(
    st.sampled_from(["x", "y", "n:x", "m:x"]), st.sampled_from(["", ' k="1"', " k='1'", ' k="2" l="3"', ' l="3" k="2"'])
)
TREES: Final = st.recursive(
    TEXTS,
    lambda inner: st.tuples(LEAF, st.lists(inner, max_size=4)).map(
        lambda made: f"<{made[0][0]}{made[0][1]}>{''.join(made[1])}</{made[0][0]}>"
    ),
    max_leaves=8,
)
DOCUMENTS: Final = st.lists(TREES, max_size=4).map(
    lambda inner: f'<r xmlns:n="urn:n" xmlns:m="urn:n">{"".join(inner)}</r>'.encode()
)


def read_xml(node: Any) -> Any:
    """Parse an XML element: name, attributes, and the children and texts in order, without blanks between elements."""
    inner: list[Any] = []
    for child in node.childNodes:
        if child.nodeType in {child.TEXT_NODE, child.CDATA_SECTION_NODE}:
            if inner and isinstance(inner[-1], str):
                inner[-1] += child.data
            elif child.data:
                inner.append(child.data)
        elif child.nodeType == child.ELEMENT_NODE:
            inner.append(read_xml(child))
    if any(not isinstance(each, str) for each in inner):
        inner = [each for each in inner if not isinstance(each, str) or each.strip(" \t\r\n")]
    attributes = {name: value for name, value in node.attributes.items() if not name.startswith("xmlns")}
    return node.namespaceURI, node.localName, attributes, inner


@given(DOCUMENTS, DOCUMENTS)
@example(b"<p>Hello <b>Ann</b></p>", b"<p><b>Ann</b>Hello </p>")
@example(b"<p>a<x/><y/></p>", b"<p><x/>a<y/></p>")
def test_xml_matches_if_its_trees_are_equal(one: bytes, other: bytes) -> None:
    """In XML, prefixes, comments, instructions, attribute order and the spelling of characters do not matter."""
    trees = [read_xml(minidom.parseString(body.decode()).documentElement) for body in (one, other)]
    assert match(one, other, "application/xml") == (trees[0] == trees[1])


# -- text ----------------------------------------------------------------------------------------------------------

CHARSETS: Final = [
    "utf-8",
    "latin-1",
    "windows-1252",
    "utf-16",
    "utf-16le",
    "koi8-r",
    "shift_jis",
    "iso-2022-jp",
    "gb18030",
]


@given(
    st.sampled_from(CHARSETS), st.sampled_from([b"", BOM]), st.text("aä я\n", max_size=6), st.text("aä я\n", max_size=6)
)
def test_texts_match_if_their_characters_are_equal(charset: str, mark: bytes, one: str, other: str) -> None:
    """Texts are decoded with the charset in Content-Type before they are compared."""
    left, right = (mark + text.encode(charset, "ignore") for text in (one, other))
    assert match(left, right, f"text/plain; charset={charset}") == (left == right)


@given(
    st.binary(max_size=12),
    st.binary(max_size=12),
    st.sampled_from(
        [
            "text/plain",
            "text/csv; charset=utf-8",
            "image/png",
            "",
            "text/plain; charset=punycode",
            "text/plain; charset=utf-7",
        ]
    ),
)
def test_text_in_utf_8_and_bytes_match_byte_by_byte(one: bytes, other: bytes, media_type: str) -> None:
    """In valid UTF-8, different bytes are different characters. Undecodable text is compared as bytes."""
    assert match(one, other, media_type) == (one == other)


# -- byte order marks ----------------------------------------------------------------------------------------------

GOLDEN: Final = {
    format_of(value_of(side.headers, b"content-type"))[0]: side
    for side in (load(name).pair.primary for name in reversed(names()))
    if side.body and not value_of(side.headers, b"content-encoding")
}
"""A response of a golden case for each format, except Protocol Buffers, which need descriptors."""
BODIES: Final = {
    **{value_of(side.headers, b"content-type").decode(): side.body for side in GOLDEN.values()},
    "application/json": b'{"a": 1}',
    "application/x-ndjson": b'{"a": 1}\n',
    "text/event-stream": b"data: 1\n\n",
    "application/x-www-form-urlencoded": b"a=1",
    "multipart/mixed; boundary=b": b"--b\r\n\r\nx\r\n--b--\r\n",
    "application/xml": b"<a/>",
    "text/csv": b"a,b\r\n",
    "text/html; charset=utf-8": b"<p>",
    "application/octet-stream": b"x",
    "multipart/mixed; boundary=c": b"--c\r\nContent-Type: text/csv\r\n\r\n%bx\r\n--c--\r\n",
}


@pytest.mark.parametrize("media_type", BODIES)
def test_a_byte_order_mark_on_one_side_is_a_difference(media_type: str) -> None:
    """In every format, a byte order mark on both sides is not a difference."""
    body = BODIES[media_type]
    plain, marked = (body % b"", body % BOM) if b"%b" in body else (body, BOM + body)
    assert not match(plain, marked, media_type)
    assert not match(marked, plain, media_type)
    assert match(marked, bytes(bytearray(marked)), media_type)


# -- content codings -----------------------------------------------------------------------------------------------


def raw_deflate(body: bytes) -> bytes:
    """Return a deflate stream without zlib's frame, as some servers send it."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def flushed_zstd(body: bytes) -> bytes:
    """Return a zstd stream that has two blocks and no content size."""
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    half = len(body) // 2
    return (
        stream.compress(body[:half])
        + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        + stream.compress(body[half:])
        + stream.flush()
    )


CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda body: gzip.compress(body, mtime=0),
    "deflate": zlib.compress,
    "deflate (raw)": raw_deflate,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zstd (flushed)": flushed_zstd,
    "zstd (two frames)": lambda body: flushed_zstd(body[:1]) + flushed_zstd(body[1:]),
    "gzip (two members)": lambda body: gzip.compress(body[:1], mtime=0) + gzip.compress(body[1:], mtime=0),
}


@pytest.mark.parametrize("coding", CODINGS)
@given(st.binary(min_size=1, max_size=40).map(lambda part: part * 7), st.randoms(use_true_random=False))
def test_a_coded_body_matches_only_if_its_stream_is_complete(coding: str, body: bytes, random: Any) -> None:
    """A coded body equals the plain body, unless the stream ends early or has bytes after its end."""
    whole, name = CODINGS[coding](body), coding.partition(" ")[0]
    ends = len(CODINGS[coding.replace(" (two frames)", " (flushed)").replace(" (two members)", "")](body[:1]))
    cut = random.randrange(1, len(whole))
    assume("two" not in coding or cut != ends)
    kind = "application/octet-stream"
    plain = compared(whole, body, kind, name)
    assert plain.result is Result.MATCH
    for other in (whole[:cut], whole[:-1], whole + b"\x00", whole + b"x"):
        assert compared(whole, other, kind, name, name).result is Result.MISMATCH, other
        assert compared(other, body, kind, name).result is not Result.MATCH


@given(st.text("abcdefgh-", min_size=1, max_size=20), st.text("abcdefgh-", min_size=1, max_size=20))
def test_equal_bytes_under_unknown_codings_match_only_if_the_codings_are_equal(one: str, other: str) -> None:
    """Equal bytes with different content codings have different meanings, so the bodies do not match."""
    assume(not {one, other} & {"br"})
    found = compared(b"x", b"x", "text/plain", one, other)
    assert found.result is (Result.MATCH if one == other else Result.MISMATCH)
