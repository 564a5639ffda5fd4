"""Turn bodies other than JSON into values that are walked like JSON.

In: a decoded body and its media type.  Out: a value.
Holds: nothing that tells two bodies apart is dropped, except what the format says is without meaning (the boundary
of a multipart body, comments of an event stream, a namespace's prefix); what is broken raises `BrokenBodyError`.

| form | value |
|---|---|
| NDJSON | array of one value per line |
| SSE | array of events: `event`, `id`, `retry`, `data` (as JSON where it is an object or array) |
| form | object of arrays of strings |
| multipart | array of parts: `name`, `filename`, `type`, `body` |
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.exact import NotJsonError, parse_exact
from shadowdiff.compare.media import Form, Media, media_of, split_parameters, unquote

if TYPE_CHECKING:
    from shadowdiff.compare.values import Value

MAX_PARTS: Final = 10_000


class BrokenBodyError(ValueError):
    """A body is not what its Content-Type says; the message says why."""


def text_of(body: bytes, charset: str) -> str:
    """Return the text; without a charset UTF-8 is taken, a byte order mark before it dropped.

    Raises: BrokenBodyError.
    """
    try:
        return body.decode(charset or "utf-8-sig")
    except (UnicodeError, LookupError) as error:
        raise BrokenBodyError(f"not {charset or 'utf-8'}: {error}") from error


def ndjson(body: bytes) -> Value:
    """Return one value per line; blank lines say nothing."""
    values: list[Value] = []
    for number, line in enumerate(body.replace(b"\x1e", b"").split(b"\n")):
        if line.strip():
            try:
                values.append(parse_exact(line))
            except NotJsonError as error:
                raise BrokenBodyError(f"line {number}: {error}") from error
    return values


def events(body: bytes) -> Value:
    """Return the events of a stream (HTML Living Standard, section 9.2.6)."""
    found: list[Value] = []
    fields: dict[str, Value] = {}
    lines: list[str] = []
    for line in [*_LINE_END.split(text_of(body, "utf-8-sig")), ""]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            lines.append(value)
        elif name in {"event", "id", "retry"}:
            fields[name] = value
        if not line and (fields or lines):
            found.append({**fields, "data": _data("\n".join(lines))} if lines else fields)
            fields, lines = {}, []
    return found


_LINE_END: Final = re.compile("\r\n|\n|\r")


def _data(text: str) -> Value:
    """Read data that is a JSON object or array, as most streams carry."""
    if text[:1] in {"{", "["}:
        try:
            return parse_exact(text.encode("utf-8", "surrogatepass"))
        except NotJsonError:
            return text
    return text


def form(body: bytes, charset: str) -> Value:
    """Return each name's values in order (WHATWG URL, section 5.1); what has no name of its own stands under "".

    Names become parts of paths, and so of counts. So a body that only bears the type of a form must not pass for
    one: names are short and written as a form writes them, and some field has a value.
    Raises: BrokenBodyError.
    """
    fields: dict[str, Value] = {}
    valued = not body
    for pair in body.split(b"&"):
        if pair:
            name, equals, value = pair.partition(b"=") if b"=" in pair else (b"", b"", pair)
            if equals and not _FORM_NAME.fullmatch(name):
                raise BrokenBodyError("no form: a field has a name that no form has")
            valued = valued or (value.strip(b"=") != b"" and equals != b"")
            into = fields.setdefault(_unescape(name, charset), [])
            if isinstance(into, list):
                into.append(_unescape(value, charset))
    if not valued:
        raise BrokenBodyError("no form: no field has a value")
    return fields


_FORM_NAME: Final = re.compile(rb"[A-Za-z0-9*._+%\[\]$@:~!/-]{1,64}")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def _unescape(text: bytes, charset: str) -> str:
    raw = _ESCAPE.sub(lambda found: bytes((int(found.group(1), 16),)), text.replace(b"+", b" "))
    return text_of(raw, charset or "utf-8")


def multipart(body: bytes, media: Media) -> Value:
    """Return the parts in order; the boundary itself says nothing (RFC 2046 section 5.1)."""
    if not media.boundary:
        raise BrokenBodyError("multipart without a boundary")
    boundary = b"--" + media.boundary.encode("latin-1", "replace")
    chunks = (b"\r\n" + body).split(b"\r\n" + boundary)
    if len(chunks) < 2 or not chunks[-1].startswith(b"--"):  # noqa: PLR2004
        raise BrokenBodyError("multipart body is not closed by its boundary")
    if len(chunks) > MAX_PARTS:
        raise BrokenBodyError(f"more than {MAX_PARTS} parts")
    return [_part(chunk) for chunk in chunks[1:-1]]


def _part(chunk: bytes) -> Value:
    head, gap, body = chunk.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not gap:
        head, body = (b"", chunk.removeprefix(b"\r\n\r\n")) if chunk.startswith(b"\r\n\r\n") else (head, b"")
    fields: dict[str, str] = {}
    for line in head.split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        fields[name.strip().lower()] = value.strip()
    disposition = split_parameters(fields.get("content-disposition", ""))
    said = {
        name.strip().lower(): unquote(value.strip()) for name, _, value in (p.partition("=") for p in disposition[1:])
    }
    media = media_of(fields.get("content-type", "text/plain").encode("utf-8"))
    part: dict[str, Value] = {"type": media.name, "body": _part_body(body, media)}
    for name in ("name", "filename"):
        if name in said:
            part[name] = said[name]
    return part


def _part_body(body: bytes, media: Media) -> Value:
    try:
        if media.form is Form.JSON:
            return parse_exact(body)
        if media.form is Form.TEXT:
            return text_of(body, media.charset)
    except (NotJsonError, BrokenBodyError):
        return base64.b64encode(body).decode()
    return base64.b64encode(body).decode()
