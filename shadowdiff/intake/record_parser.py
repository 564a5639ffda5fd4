"""Parse a recorded response in either form: header fields with a body, or one line of NDJSON.

Both forms become an `Observation`, and the same function checks every observation. An error names the header or field,
its value and the allowed values. This module does no I/O.
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
TRACE_HEADERS = frozenset({b"traceparent", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-sampled", b"x-b3-flags"})
"""The stored request headers: those with a trace context. They contain no secrets."""
MAX_TRACE_HEADER_BYTES = 256
MAX_ID_CHARS = 256
MAX_ATTEMPT = 100
MAX_DIGITS = 15
"""The maximum number of digits: enough for any size, and within the store's 64 bits."""
MAX_SIZE = 10**MAX_DIGITS - 1
MAX_DURATION_MS = 1e9
"""More than eleven days."""
MAX_LINE_FIELDS = 1000
"""The maximum number of headers and trailers in one line, the same as in an HTTP request."""
LINE_BYTES = 512 << 10
"""The maximum length of a line, not counting the text of its body."""
_H, _T, _Q = len(HEADER_PREFIX), len(TRAILER_PREFIX), len(REQUEST_PREFIX)
_SIDES = {side.value.encode(): side for side in Side}
_STATUSES = {str(status).encode(): status for status in range(100, 600)}
_REQUIRED = ("id", "id_source", "method", "path", "host", "status")
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A method. Source: RFC 9110, sections 5.6.2 and 9.1."""
_CUT_IT = "truncate body_base64, and send the body's full size in `size`"
_A_DURATION = f"use a number of milliseconds, from 0 to {MAX_DURATION_MS:.0f}"
_A_STATUS = "use a number from 100 to 599"
_MISSING = "is missing: a record needs id, id_source, method, path, host and status"
_PATH_SHOWN_CHARS = 8


class RecordError(Exception):
    """A record cannot be accepted; the message says why in one line."""


class RecordHeaders(NamedTuple):
    """The header fields of one `POST /record`, grouped by what they describe."""

    fields: dict[bytes, bytes]
    headers: list[tuple[bytes, bytes]]
    trailers: list[tuple[bytes, bytes]]
    request_headers: list[tuple[bytes, bytes]]


class RecordLine(msgspec.Struct, gc=False, kw_only=True):
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


class _LineHost(msgspec.Struct, gc=False):
    host: str = ""


class _LineHeaders(msgspec.Struct, gc=False):
    request_headers: list[tuple[str, str]] = []


_line_decoder = msgspec.json.Decoder(RecordLine)
_FIELDS = frozenset(
    PREFIX + name.replace("_", "-").encode() for name in (*_REQUIRED, "side", "size", "attempt", "duration_ms")
)
_REMEMBERED_NAMES = 2048
_REMEMBERED_NAME_BYTES = 128
_response_names = dict.fromkeys(_FIELDS, b"")
"""`x-shadowdiff-h-<name>` to `<name>`; empty for fields of the record itself. A bounded cache."""


def read_record_headers(headers: Iterable[tuple[bytes, bytes]]) -> RecordHeaders:
    """Sort the headers of a `POST /record` in one pass. Headers without the prefix belong to the POST itself."""
    fields: dict[bytes, bytes] = {}
    response: list[tuple[bytes, bytes]] = []
    trailers: list[tuple[bytes, bytes]] = []
    request: list[tuple[bytes, bytes]] = []
    known = _response_names.get
    for name, value in headers:
        short = known(name)
        if short:
            response.append((short, value))
        elif short is not None:
            fields[name] = value
        elif not name.startswith(PREFIX):
            continue
        elif name[:_H] == HEADER_PREFIX:
            short = name[_H:]
            if short and len(_response_names) < _REMEMBERED_NAMES and len(name) <= _REMEMBERED_NAME_BYTES:
                _response_names[name] = short
            response.append((short, value))
        elif name[:_T] == TRAILER_PREFIX:
            trailers.append((name[_T:], value))
        elif name[:_Q] == REQUEST_PREFIX:
            request.append((name[_Q:], value))
    return RecordHeaders(fields, response, trailers, request)


def side_of(fields: dict[bytes, bytes]) -> Side:
    """Return the side, or the primary if the side is invalid."""
    return _SIDES.get(fields.get(b"x-shadowdiff-side", b"primary"), Side.PRIMARY)


def observation_of_headers(record: RecordHeaders, body: bytes, target: str, at_ms: int) -> Observation:
    """Return the observation of a `POST /record`. Raises: RecordError."""
    fields, headers, trailers, request_headers = record
    get = fields.get
    raw_status = get(b"x-shadowdiff-status", b"")
    status = _STATUSES.get(raw_status, 0)
    if not status:
        wrong = f"is {_shown(raw_status)}: {_A_STATUS}" if raw_status else _MISSING
        raise RecordError(f"x-shadowdiff-status {wrong}")
    raw_side = get(b"x-shadowdiff-side", b"primary")
    side = _SIDES.get(raw_side)
    if side is None:
        raise RecordError(f"x-shadowdiff-side is {_shown(raw_side)}: use one of primary, candidate, control")
    return _checked(
        Observation(
            side=side,
            target=target,
            id=get(b"x-shadowdiff-id", b"").decode("utf-8", "backslashreplace"),  # as on the mirror port
            id_source=get(b"x-shadowdiff-id-source", b"").decode("latin-1"),
            method=get(b"x-shadowdiff-method", b"").decode("latin-1"),
            path=get(b"x-shadowdiff-path", b"").decode("latin-1"),
            host=get(b"x-shadowdiff-host", b"").decode("latin-1"),
            status=status,
            headers=tuple(headers),
            body=body,
            body_bytes=_number("size", raw) if (raw := get(b"x-shadowdiff-size")) else len(body),
            trailers=tuple(trailers),
            attempt=min(_number("attempt", raw), MAX_ATTEMPT) if (raw := get(b"x-shadowdiff-attempt")) else 0,
            duration_ms=_duration(raw) if (raw := get(b"x-shadowdiff-duration-ms")) else -1.0,
            at_ms=at_ms,
            request_headers=_trace_headers(request_headers) if request_headers else (),
        ),
        is_line=False,
    )


def observation_of_line(line: bytes, at_ms: int, max_body_bytes: int) -> Observation:
    """Return the observation of one line, with the target `UNKNOWN_TARGET`. Raises: RecordError."""
    longest = max_body_bytes * 4 // 3 + LINE_BYTES  # a parsed line takes many times as much memory as its bytes
    if len(line) > longest:
        raise RecordError(f"the line has more than {longest} bytes: {_CUT_IT}")
    try:
        record = _line_decoder.decode(line)
    except RecursionError:
        raise RecordError("the JSON of the line is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(" ".join(str(error).split())) from error
    if len(record.body_base64) > max_body_bytes:
        raise RecordError(f"body_base64 has more than {max_body_bytes} bytes: {_CUT_IT}")
    if len(record.headers) + len(record.trailers) + len(record.request_headers) > MAX_LINE_FIELDS:
        raise RecordError(f"headers, trailers and request_headers have more than {MAX_LINE_FIELDS} fields")
    return _checked(
        Observation(
            side=record.side,
            target=UNKNOWN_TARGET,
            id=record.id,
            id_source=record.id_source,
            method=record.method,
            path=record.path,
            host=record.host,
            status=record.status,
            headers=_wire_fields(record.headers),
            body=record.body_base64,
            body_bytes=len(record.body_base64) if record.size is None else record.size,
            trailers=_wire_fields(record.trailers),
            attempt=min(record.attempt, MAX_ATTEMPT),
            duration_ms=record.duration_ms if record.duration_ms >= 0 else -1.0,
            at_ms=at_ms,
            request_headers=_trace_headers(_wire_fields(record.request_headers)),
        ),
        is_line=True,
    )


def host_of_line(line: bytes) -> str:
    """Return the host of a rejected line, so that the line counts for its target; empty if the line has no host."""
    try:
        return msgspec.json.decode(line, type=_LineHost).host
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def request_headers_of_line(line: bytes) -> Headers:
    """Return the request's headers that a valid line states. Only the trace headers become part of its observation."""
    return _wire_fields(msgspec.json.decode(line, type=_LineHeaders).request_headers)


def _checked(record: Observation, *, is_line: bool) -> Observation:
    """Check and return a record. Raises: RecordError, which names the first wrong header or field."""
    record_id, method, path, size = record.id, record.method, record.path, record.body_bytes
    if not (record_id and record.id_source and method and path and record.host):
        missing = next(name for name in _REQUIRED if not getattr(record, name))
        wrong, why = missing, _MISSING
    elif len(record_id) > MAX_ID_CHARS:
        wrong, why = "id", f"has more than {MAX_ID_CHARS} characters: send a shorter id"
    elif method not in _METHODS and not _TOKEN.fullmatch(method):
        wrong, why = "method", f"is {method[:40]!r}: use one word, such as GET"
    elif path[0] != "/" and path != "*":
        wrong, why = (
            "path",
            f"is {_path_shown(path)}: use a path that begins with / and includes the query, or * for OPTIONS",
        )
    elif not 100 <= record.status <= 599:  # noqa: PLR2004 - RFC 9110, section 15
        wrong, why = "status", f"is {record.status}: {_A_STATUS}"
    elif size > MAX_SIZE:
        wrong, why = "size", f"has more than {MAX_DIGITS} digits"
    elif size < len(record.body):
        wrong, why = "size", f"is {size}, but the body has {len(record.body)} bytes: send the body's full size"
    elif record.attempt < 0:
        wrong, why = "attempt", f"is {record.attempt}: use a whole number, 0 or more"
    elif record.duration_ms > MAX_DURATION_MS:
        wrong, why = "duration_ms", f"is {record.duration_ms}: {_A_DURATION}"
    else:
        return record
    raise RecordError(f"{wrong if is_line else 'x-shadowdiff-' + wrong.replace('_', '-')} {why}")


def _shown(value: bytes) -> str:
    return repr(value[:40].decode("latin-1"))


def _path_shown(path: str) -> str:
    """Return only the start of a path: error texts are stored, and redaction cannot detect a part of a secret."""
    begins = re.split(r"[/?#=:;%@&]", path, maxsplit=1)[0][:_PATH_SHOWN_CHARS]
    return repr(begins if begins == path else f"{begins}…")


def _number(name: str, value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_DIGITS:
        raise RecordError(f"x-shadowdiff-{name} is {_shown(value)}: use a whole number, 0 or more")
    return int(value)


def _duration(value: bytes) -> float:
    try:
        duration_ms = float(value)
    except ValueError:
        duration_ms = math.nan
    if not 0 <= duration_ms <= MAX_DURATION_MS:
        raise RecordError(f"x-shadowdiff-duration-ms is {_shown(value)}: {_A_DURATION}")
    return duration_ms


def _trace_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple([one for one in headers if one[0] in TRACE_HEADERS and len(one[1]) <= MAX_TRACE_HEADER_BYTES])


def _wire_fields(pairs: Iterable[tuple[str, str]]) -> Headers:
    return tuple([(_wire(name.lower()), _wire(value)) for name, value in pairs])


def _wire(text: str) -> bytes:
    """Return a header's wire bytes. HTTP libraries decode each byte to a character, but JSON may contain any text."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()
