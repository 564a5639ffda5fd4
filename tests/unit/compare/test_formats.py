"""Every body format is registered, documented, and selected only by Content-Type."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shadowdiff.compare import formats
from shadowdiff.compare.content_type import MAX_TYPE_BYTES, media_of
from shadowdiff.compare.exact import MAX_DEPTH
from shadowdiff.compare.formats import BINARY, BY_TYPE, FORMATS, cached_format_of, format_of
from shadowdiff.compare.formats.format import MAX_VALUE_DEPTH, BrokenBodyError, Format
from shadowdiff.compare.formats.grpc import Protobuf
from shadowdiff.model import Headers, Kind, Result
from tests.fakes.responses import judged

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "comparing.md").read_text()
MODULES = [name for _, name, _ in pkgutil.iter_modules(formats.__path__) if name != "format"]
GOLDEN = [one for one in FORMATS if one is not BINARY and not isinstance(one, Protobuf)]
CASES = [(path / "v1.http").read_bytes() for path in sorted((ROOT / "fixtures" / "pairs").iterdir()) if path.is_dir()]


@pytest.mark.parametrize("name", MODULES)
def test_every_format_of_a_module_is_registered(name: str) -> None:
    """Each module in `shadowdiff/compare/formats` defines at least one format, and `FORMATS` lists all of them."""
    module = import_module(f"shadowdiff.compare.formats.{name}")
    defined = {
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Format) and one.__module__ == module.__name__
    }
    assert defined
    assert defined <= {type(one) for one in FORMATS}


@pytest.mark.parametrize("registered", FORMATS, ids=lambda one: type(one).__name__)
def test_every_format_has_its_row_in_the_docs(registered: Format) -> None:
    """docs/comparing.md has the name and the description of each format, word for word."""
    row = f"| {registered.name} | {registered.docs} |"
    assert row in DOCS, f"docs/comparing.md lacks this row:\n{row}"


def test_no_two_formats_claim_one_media_type() -> None:
    """If two formats had the same media type, the first one would win silently."""
    assert len(BY_TYPE) == sum(len(one.media_types) for one in FORMATS)


@pytest.mark.parametrize("registered", GOLDEN, ids=lambda one: type(one).__name__)
def test_every_format_has_a_golden_case(registered: Format) -> None:
    """A folder under fixtures/pairs has a response with one of its media types (messages need descriptors)."""
    named = [line.partition(b":")[2].strip() for case in CASES for line in case.split(b"\n") if _is_type(line)]
    assert any(format_of(value)[0] is registered for value in named)


def _is_type(line: bytes) -> bool:
    return line.lower().startswith(b"content-type:")


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        (b"application/json; charset=utf-8", "Json"),
        (b"application/vnd.api+json", "Json"),
        (b"multipart/x+json", "Json"),
        (b"Application/JSON-seq", "JsonLines"),
        (b"image/svg+xml", "Xml"),
        (b"text/xml", "Xml"),
        (b"text/csv", "Text"),
        (b"text/csv; Header=Present; charset=utf-8", "Csv"),
        (b"text/csv; header=absent", "Text"),
        (b"application/vnd.oai.openapi+yaml", "Yaml"),
        (b"text/yaml", "Yaml"),
        (b"application/x-msgpack", "MessagePack"),
        (b"application/senml+cbor", "Cbor"),
        (b"application/cbor-seq", "Cbor"),
        (b"multipart/mixed; boundary=x", "Multipart"),
        (b"application/grpc-web-text+proto", "GrpcWeb"),
        (b"application/grpc+proto", "Grpc"),
        (b"application/proto", "Connect"),
        (b"application/grpc+json", "Json"),
        (b"application/x-amz-json-1.1", "Json"),
        (b"application/vnd.acme.json", "Json"),
        (b"application/vnd.acme.jsonish", "Binary"),
        (b"application/stream+json", "JsonLines"),
        (b"application/geo+json-seq", "JsonLines"),
        (b"application/vnd.elasticsearch+x-ndjson;compatible-with=8", "JsonLines"),
        (b"application/xhtml+xml", "Text"),
        (b"application/vnd.acme+toml2", "Binary"),
        (b"image/png", "Binary"),
        (b"", "Binary"),
        (b"json", "Binary"),
    ],
)
def test_the_content_type_decides(content_type: bytes, name: str) -> None:
    """Complete types come before suffixes, and suffixes before patterns."""
    assert name == type(format_of(content_type)[0]).__name__


def test_only_the_start_of_a_long_content_type_is_cached() -> None:
    """A server may send a different Content-Type of 64 KB in each response, so the caches limit their keys."""
    long = b"application/json; a=".ljust(1 << 16, b"x")
    assert media_of(long[:MAX_TYPE_BYTES]) is media_of(long)
    assert format_of(long[:MAX_TYPE_BYTES]) is format_of(long)


class Nested(Format):
    """A format for tests: the body is a number of levels and a leaf, such as `3 x`. A negative number never ends."""

    name = "nested"
    docs = ""

    def value(self, body: bytes, media: Media) -> Value:
        """Nest arrays and objects alternately."""
        levels, _, leaf = body.decode().partition(" ")
        value: Value = leaf
        for level in range(int(levels)):
            value = [value] if level % 2 else {"a": value}
        return self.value(body, media) if int(levels) < 0 else value


@pytest.mark.parametrize("levels", [MAX_VALUE_DEPTH + 1, 20_000, -1])
def test_a_value_that_is_too_deep_is_a_broken_body(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The depth limit applies to every format, and comparing its values raises no exception."""
    headers: Headers = ((b"content-type", b"application/x-nested"),)
    cached_format_of.cache_clear()
    monkeypatch.setitem(BY_TYPE, "application/x-nested", Nested())
    try:
        deepest = judged(*(b"%d %b" % (MAX_VALUE_DEPTH, leaf) for leaf in (b"x", b"y")), headers=headers)
        deeper = judged(b"1 x", b"%d x" % levels, headers=headers)
        both = judged(*(b"%d %b" % (levels, leaf) for leaf in (b"x", b"y")), headers=headers)
    finally:
        cached_format_of.cache_clear()
    assert [(Kind.VALUE, '"x"', '"y"')] == [(one.kind, one.primary, one.candidate) for one in deepest.differences]
    (found,) = deeper.differences
    assert (Kind.TYPE, "$", "1 x") == (found.kind, found.path, found.primary)
    assert f"broken (nested deeper than {MAX_VALUE_DEPTH} levels)" in (found.candidate or "")
    assert (Result.MISMATCH, [Kind.TEXT, Kind.TYPE]) == (both.result, [one.kind for one in both.differences])


@pytest.mark.parametrize(
    ("media_type", "before", "after"),
    [
        ("application/x-ndjson", "", ""),
        ("text/event-stream", "data: ", "\n\n"),
        ("text/event-stream", "data: ", ""),
        ("multipart/mixed; boundary=b", "--b\r\nContent-Type: application/json\r\n\r\n", "\r\n--b--"),
    ],
)
def test_the_deepest_json_is_not_too_deep_inside_another_format(media_type: str, before: str, after: str) -> None:
    """The limit has room for the levels of the outer format."""
    body = f"{before}{'[' * MAX_DEPTH}{']' * MAX_DEPTH}{after}".encode()
    media = media_of(media_type.encode())
    assert not isinstance(format_of(media_type.encode())[0].try_value(body, media), BrokenBodyError)
