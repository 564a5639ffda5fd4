"""Multipart bodies, compared as an array of parts.

A part is an object with `type` and `body`; `name` and `filename` if present; the Content-Type's `parameters`;
`disposition` (the kind, and its other parameters); and all other `headers` unchanged. A body that does not conform to
its type is under `bytes` instead. The boundary, the text before the first and after the last boundary, and the order of
a part's headers do not matter (RFC 2046 section 5.1).
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.exact import NotJsonError
from shadowdiff.compare.formats.format import BrokenBodyError, Format
from shadowdiff.compare.media import MAX_TYPE_BYTES, Media, split_parameters, unquote
from shadowdiff.compare.sequence import grouped
from shadowdiff.rules.json_values import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shadowdiff.rules.json_values import Value

MAX_PARTS: Final = 10_000
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_FOLD: Final = re.compile(rb"\r\n(?=[ \t])")
_BLANKS: Final = " \t"
_SHOWN_APART: Final = frozenset({"name", "filename"})


class Multipart(Format):
    """Reads the parts in order.  format_of: finds the format of a part."""

    name = "`multipart/*`"
    docs = (
        "an array of parts with `type`, `body`, `name`, `filename`; `parameters` of the part's Content-Type;"
        " `disposition`; other `headers`: `$[0].headers['content-range']`; `bytes`, in base64, instead of a body"
        " that is not valid for its type"
    )
    media_types = ("multipart/*",)

    def __init__(self, format_of: Callable[[bytes], tuple[Format, Media]]) -> None:
        self._format_of = format_of

    def value(self, body: bytes, media: Media) -> Value:
        if not media.boundary:
            raise BrokenBodyError("multipart without a boundary")
        return [self._part(chunk) for chunk in _chunks(body, b"--" + media.boundary.encode("latin-1", "replace"))]

    def _part(self, chunk: bytes) -> Value:
        head, gap, body = chunk.partition(b"\r\n\r\n")
        if not gap:
            raise BrokenBodyError("a part has no blank line after its headers")
        fields, others = _fields(head.removeprefix(b"\r\n"))
        content_type = fields.get("content-type", "text/plain")
        format_, media = self._format_of(content_type.encode("utf-8", "surrogateescape"))
        part: dict[str, Value] = {"type": media.name, **_body(body, format_, media)}
        if len(content_type) > MAX_TYPE_BYTES:
            part["type"] = content_type
        elif media.parameters:
            part["parameters"] = _by_name(
                (name, value.lower() if name == "charset" else value) for name, value in media.parameters
            )
        if "content-disposition" in fields:
            part |= _disposition(fields["content-disposition"])
        if others:
            part["headers"] = others
        return part


def _body(body: bytes, format_: Format, media: Media) -> dict[str, Value]:
    try:
        value = format_.embedded(body, media)
    except (NotJsonError, BrokenBodyError):
        return {"bytes": base64.b64encode(body).decode()}
    return {"body": base64.b64encode(body).decode() if isinstance(value, Missing) else value}


def _chunks(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """Yield the bytes between each two boundary lines, up to the closing boundary."""
    start, count = None, 0
    for line in re.finditer(rb"(?:\A|\r\n)" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)", body):
        if start is not None:
            count += 1
            if count > MAX_PARTS:
                raise BrokenBodyError(f"more than {MAX_PARTS} parts")
            yield body[start : line.start()]
        if line[1]:
            return
        start = line.end()
    raise BrokenBodyError("multipart body is not closed by its boundary")


def _fields(head: bytes) -> tuple[dict[str, str], Value]:
    """Return the two parsed headers, and all other headers; a line that is not a header has an empty name."""
    read: dict[str, str] = {}
    others: list[tuple[str, Value]] = []
    for line in _FOLD.sub(b"", head).split(b"\r\n") if head else []:
        text = line.decode("utf-8", "surrogateescape")
        name, colon, value = text.partition(":")
        name = name.lower()
        if name in {"content-type", "content-disposition"} and name not in read:
            read[name] = value.strip(_BLANKS)
        elif colon and _HEADER_NAME.fullmatch(name):
            others.append((name, value.strip(_BLANKS)))
        else:
            others.append(("", text))
    return read, _by_name(others)


def _by_name(pairs: Iterable[tuple[str, Value]]) -> Value:
    return {name: values if len(values) > 1 else values[0] for name, values in grouped(pairs).items()}


def _disposition(text: str) -> dict[str, Value]:
    kind, *rest = split_parameters(text)
    part: dict[str, Value] = {"disposition": kind.strip(_BLANKS).lower()}
    more: list[Value] = []
    for each in rest:
        name, equals, value = (text.strip(_BLANKS) for text in each.partition("="))
        name, value = name.lower(), unquote(value)
        if name in _SHOWN_APART and equals and name not in part:
            part[name] = value
        elif name:
            more.append(f"{name}{equals}{value}")
    if more:
        part["disposition"] = [part["disposition"], *more]
    return part
