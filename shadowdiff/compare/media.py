"""Read Content-Type: which decoder a body asks for.

Holds: the type decides, never the body's looks. Parsed types are remembered, since a service has few.
Source: RFC 9110 section 8.3, RFC 6839 (suffixes).
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec


class Form(StrEnum):
    """The form of a body."""

    JSON = "json"
    NDJSON = "ndjson"
    SSE = "sse"
    FORM = "form"
    MULTIPART = "multipart"
    GRPC = "grpc"
    PROTOBUF = "protobuf"
    XML = "xml"
    TEXT = "text"
    BYTES = "bytes"


class Media(msgspec.Struct, frozen=True):
    """A media type, lower case, with its parameters."""

    name: str
    form: Form
    charset: str = ""
    boundary: str = ""
    parameters: tuple[tuple[str, str], ...] = ()


_FORMS: Final = {
    "application/json": Form.JSON,
    "text/json": Form.JSON,
    "application/x-json": Form.JSON,
    "application/x-ndjson": Form.NDJSON,
    "application/ndjson": Form.NDJSON,
    "application/jsonl": Form.NDJSON,
    "application/x-jsonl": Form.NDJSON,
    "application/jsonlines": Form.NDJSON,
    "application/json-seq": Form.NDJSON,
    "text/event-stream": Form.SSE,
    "application/x-www-form-urlencoded": Form.FORM,
    "application/grpc": Form.GRPC,
    "application/grpc+proto": Form.GRPC,
    "application/protobuf": Form.PROTOBUF,
    "application/x-protobuf": Form.PROTOBUF,
    "application/vnd.google.protobuf": Form.PROTOBUF,
    "application/xml": Form.XML,
    "text/xml": Form.XML,
    "application/javascript": Form.TEXT,
    "application/ecmascript": Form.TEXT,
    "application/graphql": Form.TEXT,
    "application/yaml": Form.TEXT,
    "application/x-yaml": Form.TEXT,
    "application/toml": Form.TEXT,
    "application/sql": Form.TEXT,
    "application/openmetrics-text": Form.TEXT,
}
_SUFFIXES: Final = (("+json", Form.JSON), ("+xml", Form.XML), ("+yaml", Form.TEXT))


@lru_cache(maxsize=1024)
def media_of(content_type: bytes) -> Media:
    """Return the media type that a Content-Type names; an empty one is bytes."""
    head, *rest = split_parameters(content_type[:1024].decode("latin-1"))
    name = head.strip().lower()
    parameters = tuple(_parameter(part) for part in rest if part.strip())
    found = dict(reversed(parameters))
    return Media(name, _form(name), found.get("charset", "").lower(), found.get("boundary", ""), parameters)


def _form(name: str) -> Form:
    if name in _FORMS:
        return _FORMS[name]
    for suffix, form in _SUFFIXES:
        if name.endswith(suffix):
            return form
    if name.startswith("multipart/"):
        return Form.MULTIPART
    return Form.TEXT if name.startswith("text/") else Form.BYTES


def _parameter(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip().lower(), unquote(value.strip())


def unquote(text: str) -> str:
    """Return what a quoted string says; other text as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':  # noqa: PLR2004
        return text
    out: list[str] = []
    escaped = False
    for char in text[1:-1]:
        if char == "\\" and not escaped:
            escaped = True
        else:
            out.append(char)
            escaped = False
    return "".join(out)


def split_parameters(text: str, separator: str = ";") -> list[str]:
    """Split at a separator that stands outside quoted strings."""
    parts: list[str] = []
    start = 0
    quoted = escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts
