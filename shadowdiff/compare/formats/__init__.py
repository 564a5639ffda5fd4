"""All body formats, one module for each. To add a format, add a module here and an entry in `FORMATS`.

The Content-Type decides the format; the content of the body never does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.formats.cbor import Cbor
from shadowdiff.compare.formats.connect import Connect
from shadowdiff.compare.formats.csv import Csv
from shadowdiff.compare.formats.event_stream import EventStream
from shadowdiff.compare.formats.form import Form
from shadowdiff.compare.formats.format import Bodies, Format, Side
from shadowdiff.compare.formats.grpc import Grpc, Protobuf
from shadowdiff.compare.formats.grpc_web import GrpcWeb
from shadowdiff.compare.formats.http_message import HttpMessage
from shadowdiff.compare.formats.json import Json
from shadowdiff.compare.formats.json_lines import JsonLines
from shadowdiff.compare.formats.messagepack import MessagePack
from shadowdiff.compare.formats.multipart import Multipart
from shadowdiff.compare.formats.text import Text
from shadowdiff.compare.formats.xml import Xml
from shadowdiff.compare.formats.yaml import Yaml
from shadowdiff.compare.headers import value_of
from shadowdiff.compare.media import BrokenBodyError, Media, media_of

if TYPE_CHECKING:
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.compare.work import Budget, Limits
    from shadowdiff.model import Headers, Observation
    from shadowdiff.rules.json_values import Missing, Value


@lru_cache(maxsize=1024)
def format_of(content_type: bytes) -> tuple[Format, Media]:
    """Return the format that a Content-Type names, and the parsed type."""
    media = media_of(content_type)
    _, plus, suffix = media.name.rpartition("+")
    family, _, _ = media.name.partition("/")
    exact = (f"{media.name}; {name}={value.lower()}" for name, value in media.parameters)
    found = (BY_TYPE.get(name) for name in (*exact, media.name, plus + suffix, f"{family}/*"))
    return next((format_ for format_ in found if format_ is not None), BINARY), media


class Binary(Format):
    """Bodies without another format; notes the bytes between the first and the last difference."""

    name = "everything else"
    docs = "the bytes between the first and the last difference"
    has_paths = False

    def compare(self, bodies: Bodies) -> None:
        bodies.findings.note_bytes(bodies.one, bodies.other, bodies.whole)


BINARY: Final = Binary()
TEXT: Final = Text()
FORMATS: Final[tuple[Format, ...]] = (
    Json(), JsonLines(), EventStream(), Form(), Grpc(), GrpcWeb(), Connect(), Protobuf(), MessagePack(), Cbor(),
    Multipart(format_of), HttpMessage(format_of), Xml(), Yaml(), Csv(), TEXT, BINARY,
)  # fmt: skip
BY_TYPE: Final = {media_type: format_ for format_ in FORMATS for media_type in format_.media_types}
"""Each format by its media types, also with a parameter, and by suffixes (`+json`) and families (`text/*`)."""


def is_binary(headers: Headers) -> bool:
    """Whether people can read a body with these headers only after it is decoded."""
    return format_of(value_of(headers, b"content-type"))[0].is_binary


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
    format_, _ = format_of(value_of(headers, b"content-type"))
    return format_.read(Side(body, headers, side.path, route, is_request, limits, messages, budget))
