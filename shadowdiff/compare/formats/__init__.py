"""All body formats, one module for each. To add a format, add a module here and an entry in `FORMATS`.

The Content-Type decides the format, or the target's setting `body_types`; the content of the body never does. A type
that no format reads is compared as bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare.content_type import MAX_TYPE_BYTES, BrokenBodyError, Media, media_of
from shadowdiff.compare.formats.cbor import Cbor
from shadowdiff.compare.formats.connect import Connect
from shadowdiff.compare.formats.csv import Csv
from shadowdiff.compare.formats.event_stream import EventStream
from shadowdiff.compare.formats.form import Form
from shadowdiff.compare.formats.format import Bodies, BothBrokenError, Format, Side
from shadowdiff.compare.formats.grpc import Grpc, Protobuf
from shadowdiff.compare.formats.grpc_web import GrpcWeb
from shadowdiff.compare.formats.html import Html
from shadowdiff.compare.formats.http_message import HttpMessage
from shadowdiff.compare.formats.json import Json
from shadowdiff.compare.formats.json_lines import JsonLines
from shadowdiff.compare.formats.messagepack import MessagePack
from shadowdiff.compare.formats.multipart import Multipart
from shadowdiff.compare.formats.text import Text
from shadowdiff.compare.formats.xml import Xml
from shadowdiff.compare.formats.yaml import Yaml
from shadowdiff.compare.headers import value_of
from shadowdiff.model import Kind
from shadowdiff.rules.builtin import BOTH_BROKEN
from shadowdiff.rules.rule import names_of_route

if TYPE_CHECKING:
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.compare.work import Budget, Limits
    from shadowdiff.model import Headers, Observation
    from shadowdiff.rules.json_values import Missing, Value


_VENDOR_JSON: Final = re.compile(r"application/(?:[^+]*[.-])?json(?:-[0-9.]+)?")
"""JSON types without the suffix `+json`, such as `application/x-amz-json-1.1`."""
_DECODED: Final = "from"
"""The parameter of a stored body's Content-Type if the sample has the body's value as JSON."""


def format_of(content_type: bytes, named: bytes = b"") -> tuple[Format, Media]:
    """Return the format of a Content-Type, and the parsed type.

    named: the type that a setting names instead. Parameters that it lacks, such as the charset, are the Content-Type's.
    """
    return cached_format_of(content_type[:MAX_TYPE_BYTES], named)


@lru_cache(maxsize=1024)
def cached_format_of(content_type: bytes, named: bytes) -> tuple[Format, Media]:
    """Return the same for a Content-Type of limited length, so that the cache has a limited size."""
    media = media_of(content_type)
    if named and _DECODED not in dict(media.parameters):
        own = media_of(named)
        charset, boundary = own.charset or media.charset, own.boundary or media.boundary
        parameters = (*own.parameters, *media.parameters)
        media = msgspec.structs.replace(own, charset=charset, boundary=boundary, parameters=parameters)
    _, plus, suffix = media.name.rpartition("+")
    family, _, _ = media.name.partition("/")
    exact = (f"{media.name}; {name}={value.lower()}" for name, value in media.parameters)
    vendor = "+json" if _VENDOR_JSON.fullmatch(media.name) else ""
    found = (BY_TYPE.get(name) for name in (*exact, media.name, plus + suffix, vendor, f"{family}/*"))
    return next((format_ for format_ in found if format_ is not None), BINARY), media


ALL_ROUTES: Final = "*"


@lru_cache(maxsize=4096)
def named_type(types: tuple[tuple[str, str], ...], route: str) -> bytes:
    """Return the type that `body_types` names for a route: the most exact one, or an empty text."""
    found = dict(types)
    names = (*names_of_route(route), ALL_ROUTES)
    return next((found[name].encode("latin-1", "replace") for name in names if name in found), b"")


def compare_bodies(format_: Format, bodies: Bodies) -> None:
    """Note where two different bodies differ. If neither conforms to its type, note this, and compare them as text."""
    findings = bodies.findings
    mark = findings.mark()
    try:
        format_.compare(bodies)
    except BothBrokenError as error:
        findings.rewind(mark)
        one, other = (f"broken ({fault})" for fault in error.faults)
        findings.note("$", Kind.TYPE, one, other, BOTH_BROKEN.label if findings.limits.uses(BOTH_BROKEN) else None)
        TEXT.compare(bodies)


class Binary(Format):
    """Bodies without another format; notes the bytes between the first and the last difference."""

    name = "everything else"
    docs = "the bytes between the first and the last difference"
    has_paths = False

    def compare(self, bodies: Bodies) -> None:
        bodies.findings.note_bytes(bodies.one, bodies.other, bodies.whole)


BINARY: Final = Binary()
JSON: Final = Json()
TEXT: Final = Text()
FORMATS: Final[tuple[Format, ...]] = (
    JSON, JsonLines(), EventStream(), Form(), Grpc(), GrpcWeb(), Connect(), Protobuf(), MessagePack(), Cbor(),
    Multipart(format_of), HttpMessage(format_of), Xml(), Yaml(), Csv(), Html(), TEXT, BINARY,
)  # fmt: skip
BY_TYPE: Final = {media_type: format_ for format_ in FORMATS for media_type in format_.media_types}
"""Each format by its media types, also with a parameter, and by suffixes (`+json`) and families (`text/*`)."""


def is_binary(headers: Headers, named: bytes = b"") -> bool:
    """Whether people can read a body with these headers, or of a named type, only after it is decoded."""
    return format_of(value_of(headers, b"content-type"), named)[0].is_binary


def read_value(
    side: Observation,
    route: str,
    limits: Limits,
    messages: Descriptors | None,
    *,
    is_request: bool = False,
    budget: Budget | None = None,
) -> Value | Missing | BrokenBodyError:
    """Return the value of a body; MISSING if descriptors lack its type. Raises: CodingError, TooComplexError."""
    headers, body = (side.request_headers, side.request_body) if is_request else (side.headers, side.body)
    named = b"" if is_request else named_type(limits.body_types, route)
    format_, media = format_of(value_of(headers, b"content-type"), named)
    return format_.read(Side(body, headers, media, side.path, route, is_request, limits, messages, budget))
