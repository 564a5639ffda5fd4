"""The two forms of a recorded response: headers beside a body, and one line of NDJSON.

In: what a recorder sent.  Out: an observation whose target is still open, or `Refused` with one line that names
the header or field, the value and what would be right.
Holds: pure.  Sizes and numbers are checked, never trusted; a body is kept up to the bound that the caller sets.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from shadowdiff.model import UNKNOWN_TARGET, Headers, Observation, Side

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = b"x-shadowdiff-"
HEADER_PREFIX = b"x-shadowdiff-h-"
TRAILER_PREFIX = b"x-shadowdiff-trailer-"
REQUEST_PREFIX = b"x-shadowdiff-q-"
ASKED = frozenset({b"traceparent", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-sampled", b"x-b3-flags"})
"""The request headers that are kept of a record: those that a trace context is read from, and none with a secret."""
MAX_ASKED_BYTES = 256
MAX_ID_CHARS = 256
MAX_ATTEMPT = 100
MAX_DIGITS = 15
"""No size or count needs more; the store's own numbers end at 64 bits."""
MAX_SIZE = 10**MAX_DIGITS - 1
MAX_DURATION_MS = 1e9
"""More than eleven days."""
MAX_LINE_FIELDS = 1000
"""Headers and trailers of one line, as many as a head on the wire may have."""
LINE_BYTES = 512 << 10
"""What a line may have beside the text of its body."""
_H, _T, _Q = len(HEADER_PREFIX), len(TRAILER_PREFIX), len(REQUEST_PREFIX)
_SIDES = {side.value.encode(): side for side in Side}
_STATUSES = {str(status).encode(): status for status in range(100, 600)}
_REQUIRED = (b"id", b"id-source", b"method", b"path", b"host", b"status")
_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"CONNECT"})
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a method may be. Source: RFC 9110, sections 5.6.2 and 9.1."""
_CUT_IT = "cut body_base64, and say the full size in size"
_A_DURATION = f"from 0 to {MAX_DURATION_MS:.0f}"
_A_METHOD = "it is one word, such as GET"
_A_PATH = "it begins with /, with the query and as it was sent, or is * (of OPTIONS)"


class Refused(Exception):  # noqa: N818 - it names what became of the record
    """A record that cannot be taken, and why, in one line."""


class Form(NamedTuple):
    """The parts of one `POST /record`, apart from its body."""

    fields: dict[bytes, bytes]
    headers: list[tuple[bytes, bytes]]
    trailers: list[tuple[bytes, bytes]]
    asked: list[tuple[bytes, bytes]]


_FIELDS = frozenset(PREFIX + name for name in (*_REQUIRED, b"side", b"size", b"attempt", b"duration-ms"))
_REMEMBERED_NAMES = 2048
_answered_names: dict[bytes, bytes] = {}
"""`x-shadowdiff-h-<name>` to `<name>`. Only a cache: bounded, and derived from its key."""


def read_form(headers: Iterable[tuple[bytes, bytes]]) -> Form:
    """Sort the headers of a `POST /record`, in one pass; those without the prefix speak of the post itself."""
    fields: dict[bytes, bytes] = {}
    answered: list[tuple[bytes, bytes]] = []
    trailers: list[tuple[bytes, bytes]] = []
    asked: list[tuple[bytes, bytes]] = []
    known = _answered_names.get
    for name, value in headers:
        short = known(name)
        if short is not None:
            answered.append((short, value))
        elif name in _FIELDS:
            fields[name] = value
        elif name[:_H] == HEADER_PREFIX:
            answered.append((_learn(name), value))
        elif name[:_T] == TRAILER_PREFIX:
            trailers.append((name[_T:], value))
        elif name[:_Q] == REQUEST_PREFIX:
            asked.append((name[_Q:], value))
    return Form(fields, answered, trailers, asked)


def _learn(name: bytes) -> bytes:
    short = name[_H:]
    if len(_answered_names) < _REMEMBERED_NAMES:
        _answered_names[name] = short
    return short


def side_of(fields: dict[bytes, bytes]) -> Side:
    """Return the side as far as it can be told; the primary where it cannot."""
    return _SIDES.get(fields.get(b"x-shadowdiff-side", b"primary"), Side.PRIMARY)


def observe(form: Form, body: bytes, target: str, at_ms: int) -> Observation:
    """Return the observation that a form and its body make.

    Raises: Refused, naming the first header that is wrong.
    """
    fields, headers, trailers, asked = form
    get = fields.get
    record_id = get(b"x-shadowdiff-id")
    source = get(b"x-shadowdiff-id-source")
    method = get(b"x-shadowdiff-method")
    path = get(b"x-shadowdiff-path")
    host = get(b"x-shadowdiff-host")
    status = _STATUSES.get(get(b"x-shadowdiff-status", b""))
    side = _SIDES.get(get(b"x-shadowdiff-side", b"primary"))
    if not (record_id and source and method and path and host and status and side) or len(record_id) > MAX_ID_CHARS:
        raise Refused(_fault(fields))
    if method not in _METHODS and not _TOKEN.fullmatch(method):
        raise Refused(f"x-shadowdiff-method is {_shown(method)}: {_A_METHOD}")
    if path[:1] != b"/" and path != b"*":
        raise Refused(f"x-shadowdiff-path is {_shown(path)}: {_A_PATH}")
    raw_size = get(b"x-shadowdiff-size")
    raw_attempt = get(b"x-shadowdiff-attempt")
    raw_duration = get(b"x-shadowdiff-duration-ms")
    size = len(body)
    return Observation(
        side=side,
        target=target,
        id=record_id.decode("utf-8", "backslashreplace"),  # as the mirrored half reads it
        id_source=source.decode("latin-1"),
        method=method.decode("latin-1"),
        path=path.decode("latin-1"),
        host=host.decode("latin-1"),
        status=status,
        headers=tuple(headers),
        body=body,
        body_bytes=_size(raw_size, size) if raw_size else size,
        trailers=tuple(trailers),
        attempt=min(_number(b"attempt", raw_attempt), MAX_ATTEMPT) if raw_attempt else 0,
        duration_ms=_duration(raw_duration) if raw_duration else -1.0,
        at_ms=at_ms,
        request_headers=_kept(asked) if asked else (),
    )


def _fault(fields: dict[bytes, bytes]) -> str:
    """Say what is wrong with fields that are known not to be right."""
    for name in _REQUIRED:
        if not fields.get(PREFIX + name):
            return f"x-shadowdiff-{name.decode()} is missing: it needs id, id-source, method, path, host and status"
    status = fields[b"x-shadowdiff-status"]
    if status not in _STATUSES:
        return f"x-shadowdiff-status is {_shown(status)}: it is a number from 100 to 599"
    if len(fields[b"x-shadowdiff-id"]) > MAX_ID_CHARS:
        return f"x-shadowdiff-id has more than {MAX_ID_CHARS} characters"
    return f"x-shadowdiff-side is {_shown(fields[b'x-shadowdiff-side'])}: it is one of primary, candidate, control"


def _shown(value: bytes) -> str:
    return repr(value[:40].decode("latin-1"))


def _number(name: bytes, value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_DIGITS:
        raise Refused(f"x-shadowdiff-{name.decode()} is {_shown(value)}: it is a whole number, 0 or more")
    return int(value)


def _size(value: bytes, body_bytes: int) -> int:
    size = _number(b"size", value)
    if size < body_bytes:
        raise Refused(f"x-shadowdiff-size is {size}: the body alone has {body_bytes} bytes")
    return size


def _duration(value: bytes) -> float:
    try:
        duration_ms = float(value)
    except ValueError:
        duration_ms = math.nan
    if not 0 <= duration_ms <= MAX_DURATION_MS:
        raise Refused(f"x-shadowdiff-duration-ms is {_shown(value)}: it is a number of milliseconds, {_A_DURATION}")
    return duration_ms


class Line(msgspec.Struct, gc=False, kw_only=True):
    """One line of `POST /records`, with the same names as the headers."""

    id: str
    id_source: str
    method: str
    path: str
    host: str
    status: int
    side: Side = Side.PRIMARY
    size: int | None = None
    attempt: int = 0
    duration_ms: float = -1.0
    headers: list[tuple[str, str]] = []
    trailers: list[tuple[str, str]] = []
    request_headers: list[tuple[str, str]] = []
    body_base64: bytes = b""


_decoder = msgspec.json.Decoder(Line)


class _Whose(msgspec.Struct, gc=False):
    host: str = ""


_whose = msgspec.json.Decoder(_Whose)


def host_of_line(line: bytes) -> str:
    """Return the host of a line that was refused, as far as it can be told, so that it is counted with its target."""
    try:
        return _whose.decode(line).host
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def longest_line(max_body_bytes: int) -> int:
    """Return how long a line may be: in memory, once read, it takes many times its bytes."""
    return max_body_bytes * 4 // 3 + LINE_BYTES


def observe_line(line: bytes, at_ms: int, max_body_bytes: int) -> Observation:
    """Return the observation that one line makes; its target is `UNKNOWN_TARGET`.

    Raises: Refused, naming the field that is wrong.
    """
    if len(line) > longest_line(max_body_bytes):
        raise Refused(f"the line has more than {longest_line(max_body_bytes)} bytes: {_CUT_IT}")
    try:
        record = _decoder.decode(line)
    except RecursionError:
        raise Refused("the line is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(" ".join(str(error).split())) from error
    size = len(record.body_base64) if record.size is None else record.size
    _check_line(record)
    _check_bounds(record, size, max_body_bytes)
    return Observation(
        side=record.side,
        target=UNKNOWN_TARGET,
        id=record.id,
        id_source=record.id_source,
        method=record.method,
        path=record.path,
        host=record.host,
        status=record.status,
        headers=_fields(record.headers),
        body=record.body_base64,
        body_bytes=size,
        trailers=_fields(record.trailers),
        attempt=min(record.attempt, MAX_ATTEMPT),
        duration_ms=record.duration_ms if record.duration_ms >= 0 else -1.0,
        at_ms=at_ms,
        request_headers=_kept(_fields(record.request_headers)),
    )


def _check_line(record: Line) -> None:
    for name in ("id", "id_source", "method", "path", "host"):
        if not getattr(record, name):
            raise Refused(f"{name} is empty")
    if len(record.id) > MAX_ID_CHARS:
        raise Refused(f"id has more than {MAX_ID_CHARS} characters")
    if not _TOKEN.fullmatch(record.method.encode()):
        raise Refused(f"method is {record.method[:40]!r}: {_A_METHOD}")
    if record.path[0] != "/" and record.path != "*":
        raise Refused(f"path is {record.path[:40]!r}: {_A_PATH}")
    if str(record.status).encode() not in _STATUSES:
        raise Refused(f"status is {record.status}: it is a number from 100 to 599")


def _check_bounds(record: Line, size: int, max_body_bytes: int) -> None:
    if len(record.body_base64) > max_body_bytes:
        raise Refused(f"body_base64 holds more than {max_body_bytes} bytes: {_CUT_IT}")
    if size > MAX_SIZE:
        raise Refused(f"size has more than {MAX_DIGITS} digits")
    if size < len(record.body_base64):
        raise Refused(f"size is {size}: the body alone has {len(record.body_base64)} bytes")
    if record.attempt < 0:
        raise Refused(f"attempt is {record.attempt}: it is a whole number, 0 or more")
    if record.duration_ms > MAX_DURATION_MS:
        raise Refused(f"duration_ms is {record.duration_ms}: it is a number of milliseconds, {_A_DURATION}")
    if len(record.headers) + len(record.trailers) + len(record.request_headers) > MAX_LINE_FIELDS:
        raise Refused(f"headers, trailers and request_headers hold more than {MAX_LINE_FIELDS} fields")


def _kept(asked: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return what is kept of a request's headers."""
    return tuple([(name, value) for name, value in asked if name in ASKED and len(value) <= MAX_ASKED_BYTES])


def _fields(pairs: Iterable[tuple[str, str]]) -> Headers:
    return tuple([(_wire(name.lower()), _wire(value)) for name, value in pairs])


def _wire(text: str) -> bytes:
    """Return the bytes that a header had on the wire: HTTP libraries give a character a byte, JSON may give any."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()
