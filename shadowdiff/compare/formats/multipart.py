"""Multipart bodies, compared as an array of parts.

A part is an object with `type` and `body`; `name` and `filename` if present; the Content-Type's `parameters`;
`disposition` (the kind, and its other parameters); and all other `headers` unchanged. A body that does not conform to
its type is under `bytes` instead. The boundary, the text before the first and after the last boundary, and the order of
a part's headers do not matter (RFC 2046 section 5.1). The grammar of a response's headers applies to them. The boundary
of a nested multipart is noted as a difference that a built-in rule covers.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.content_type import MAX_TYPE_BYTES, Media, split_parameters, unquote
from shadowdiff.compare.exact import NotJsonError
from shadowdiff.compare.formats.format import BrokenBodyError, Format
from shadowdiff.compare.message_headers import messages_in, read_headers
from shadowdiff.compare.sequence import grouped
from shadowdiff.model import Kind
from shadowdiff.rules.builtin import MULTIPART_BOUNDARY
from shadowdiff.rules.json_values import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shadowdiff.compare.finding import Path
    from shadowdiff.compare.formats.format import Bodies
    from shadowdiff.rules.json_values import Value

    FormatOf = Callable[[bytes], tuple[Format, Media]]

MAX_PARTS: Final = 10_000
MAX_NESTING: Final = 8
"""Messages around a message. Each level searches the whole rest of the body again."""
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_FOLD: Final = re.compile(rb"\r\n(?=[ \t])")
_BLANKS: Final = " \t"
_SHOWN_APART: Final = frozenset({"name", "filename"})


class Multipart(Format):
    """Reads the parts in order.  format_of: finds the format of a part."""

    name = "`multipart/*`"
    docs = (
        "an array of parts, each with `type`, `body`, `name`, `filename`, `disposition`, the `parameters` of its"
        " Content-Type, and its other `headers`: `$[0].headers['content-range']`. A body that is not valid for its"
        " type is under `bytes` instead of `body`, in base64. The body of a nested multipart is an array of parts again"
    )
    media_types = ("multipart/*",)
    has_lengths = True

    def __init__(self, format_of: FormatOf) -> None:
        self._format_of = format_of

    def value(self, body: bytes, media: Media) -> Value:
        return self.embedded(body, media, 0)

    def embedded(self, body: bytes, media: Media, depth: int) -> Value:
        check_nesting(depth)
        if not media.boundary:
            raise BrokenBodyError("multipart without a boundary")
        chunks = _chunks(body, b"--" + media.boundary.encode("latin-1", "replace"))
        return [self._part(chunk, depth) for chunk in chunks]

    def _part(self, chunk: bytes, depth: int) -> Value:
        head, gap, body = chunk.partition(b"\r\n\r\n")
        if not gap:
            raise BrokenBodyError("a part has no blank line after its headers")
        return entity(head.removeprefix(b"\r\n"), body, "text/plain", self._format_of, depth)

    def _try_values(self, bodies: Bodies) -> tuple[Value | BrokenBodyError, Value | BrokenBodyError]:
        one, other = super()._try_values(bodies)
        read_messages(one, other, bodies)
        return one, other


def check_nesting(depth: int) -> None:
    """Raise BrokenBodyError if a message is inside too many other messages."""
    if depth > MAX_NESTING:
        raise BrokenBodyError(f"a message inside more than {MAX_NESTING} others")


def entity(head: bytes, body: bytes, default_type: str, format_of: FormatOf, depth: int) -> dict[str, Value]:
    """Return the headers and the body of a part, or of an HTTP message.  depth: of the messages around it."""
    fields, others = _fields(head)
    content_type = fields.get("content-type", default_type)
    format_, media = format_of(content_type.encode("utf-8", "surrogateescape"))
    found: dict[str, Value] = {"type": media.name, **_body(body, format_, media, depth + 1)}
    if len(content_type) > MAX_TYPE_BYTES:
        found["type"] = content_type
    elif media.parameters:
        found["parameters"] = _by_name(
            (name, value.lower() if name == "charset" else value) for name, value in media.parameters
        )
    if "content-disposition" in fields:
        found |= _disposition(fields["content-disposition"])
    if others:
        found["headers"] = others
    return found


def _body(body: bytes, format_: Format, media: Media, depth: int) -> dict[str, Value]:
    try:
        value = format_.embedded(body, media, depth)
    except (NotJsonError, BrokenBodyError):
        return {"bytes": base64.b64encode(body).decode()}
    return {"body": base64.b64encode(body).decode() if isinstance(value, Missing) else value}


def read_messages(one: Value | BrokenBodyError, other: Value | BrokenBodyError, bodies: Bodies) -> None:
    """Bring the messages in both values into the form in which they are compared.

    Note the boundaries of nested multiparts that differ. They do not matter.
    """
    read_headers(one, other, bodies.pair, bodies.findings)
    before, after = (dict(_boundaries_in(value)) for value in (one, other))
    for path, boundary in before.items():
        against = after.get(path, boundary)
        if boundary != against:
            rule = MULTIPART_BOUNDARY.label if bodies.findings.limits.uses(MULTIPART_BOUNDARY) else None
            bodies.findings.note_value(path, Kind.VALUE, boundary, against, rule)


def _boundaries_in(value: Value | BrokenBodyError) -> Iterator[tuple[Path, Value]]:
    """Remove the boundaries from all messages in a value, and yield the path and value of each."""
    for path, message in messages_in(value):
        parameters = message.get("parameters")
        if str(message["type"]).startswith("multipart/") and isinstance(parameters, dict) and "boundary" in parameters:
            yield ((path, "parameters"), "boundary"), parameters.pop("boundary")


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
