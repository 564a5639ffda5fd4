"""A strict HTTP/1.1 reader, and a v2 that accepts only what the reader accepts.

The reader stops at the first bytes that two parsers could read differently. It shares no code with the service or the
service's parser, so tests can compare incoming with outgoing requests.

Source: RFC 9112, sections 2.2, 3, 5, 6 and 7.1.
"""

from __future__ import annotations

import re
import socketserver
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.running import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") +([\x21-\x7e]+) +HTTP/1\.([01])")
"""Section 3 allows more than one blank between words: all parsers read the same three words."""
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_FRAMING = (b"content-length", b"transfer-encoding")
_END = b"\r\n\r\n"
ANSWER = b'{"same": 1}'


class MalformedError(Exception):
    """Parsers can read these bytes in more than one way."""


class ReadRequest(NamedTuple):
    """One request. persists: whether another request may follow on the connection."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    persists: bool

    def all_of(self, name: bytes) -> list[bytes]:
        """Return the values of every field with this name."""
        return [value for known, value in self.fields if known == name]

    @property
    def id(self) -> str:
        """Return the value of `x-request-id`, or an empty string unless the field occurs exactly once."""
        ids = self.all_of(b"x-request-id")
        return ids[0].decode("latin-1") if len(ids) == 1 else ""


def requests_of(sent: bytes) -> Iterator[ReadRequest]:
    """Yield the requests of one connection, up to the first malformed, truncated or last allowed one."""
    try:
        while found := read_request(sent):
            heard, sent = found
            yield heard
            if not heard.persists:
                return
    except MalformedError:
        return


def read_request(sent: bytes) -> tuple[ReadRequest, bytes] | None:
    """Return the first request and the bytes after it, or None if it is incomplete.

    Raises: MalformedError with the reason.
    """
    sent = sent.lstrip(b"\r\n")
    head, end, rest = sent.partition(_END)
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise MalformedError(f"no request line: {first[:100]!r}")
    method, target, minor = line.groups()
    fields = tuple(map(_field, lines))
    request = ReadRequest(method, target, fields, b"", persists=True)
    connection = {token.strip() for value in request.all_of(b"connection") for token in value.lower().split(b",")}
    upgrades = method == b"CONNECT" or (b"upgrade" in connection and bool(request.all_of(b"upgrade")))
    persists = minor == b"1" and b"close" not in connection and not upgrades
    body = (b"", rest) if upgrades else _body(request, rest)  # bytes after this are not read as HTTP
    return None if body is None else (request._replace(body=body[0], persists=persists), body[1])


def _field(line: bytes) -> tuple[bytes, bytes]:
    found = _FIELD.fullmatch(line)
    if found is None:
        raise MalformedError(f"no field: {line[:100]!r}")
    return found[1].lower(), found[2]


def _body(request: ReadRequest, rest: bytes) -> tuple[bytes, bytes] | None:
    lengths, codings = request.all_of(b"content-length"), request.all_of(b"transfer-encoding")
    if len(lengths) + bool(codings) > 1 or not all(each.isdigit() for each in lengths):
        raise MalformedError(f"no one length: {lengths} and {codings}")
    if codings:
        *others, last = [coding.strip(b" \t") for coding in b",".join(codings).lower().split(b",")]
        if last != b"chunked" or b"chunked" in others:
            raise MalformedError(f"a body without an end: {codings}")
        return _chunks(rest)
    size = int(lengths[0]) if lengths else 0
    return (rest[:size], rest[size:]) if len(rest) >= size else None


def _chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    parts: list[bytes] = []
    while found := _line_of(rest):
        line, rest = found
        said = _CHUNK.fullmatch(line)
        if said is None:
            raise MalformedError(f"no chunk: {line[:100]!r}")
        size = int(said[1], 16)
        if not size:
            behind = _behind_trailers(rest)
            return None if behind is None else (b"".join(parts), behind)
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise MalformedError(f"a chunk without an end: {rest[size : size + 10]!r}")
        parts.append(rest[:size])
        rest = rest[size + 2 :]
    return None


def _behind_trailers(rest: bytes) -> bytes | None:
    while found := _line_of(rest):
        line, rest = found
        if not line:
            return rest
        if _field(line)[0] in _FRAMING:
            raise MalformedError(f"a trailer says where bodies end: {line[:100]!r}")
    return None


def _line_of(rest: bytes) -> tuple[bytes, bytes] | None:
    line, end, rest = rest.partition(b"\r\n")
    return (line, rest) if end else None


@dataclass
class StrictV2:
    """A v2 that records each request and always replies; `faults` lists the ambiguous bytes that it received."""

    heard: list[ReadRequest] = field(default_factory=list[ReadRequest])
    faults: list[str] = field(default_factory=list[str])
    server: socketserver.ThreadingTCPServer = field(init=False)

    def __post_init__(self) -> None:
        noted = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                noted.serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 1024

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def serve(self, connection: socketserver.BaseRequestHandler) -> None:
        """Serve one connection until it closes or sends ambiguous bytes."""
        peer = connection.request
        peer.settimeout(WITHIN_S)
        came = b""
        try:
            while part := peer.recv(65_536):
                came += part
                while found := read_request(came):
                    heard, came = found
                    self.heard.append(heard)
                    peer.sendall(_answer(heard))
        except MalformedError as error:
            self.faults.append(str(error))
        except OSError:  # the service closed the connection
            return
        if came:
            self.faults.append(f"left over: {came[:100]!r}")

    @property
    def authority(self) -> bytes:
        """Return the host and port of this v2 for the configuration."""
        return b"127.0.0.1:%d" % self.port

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self.server.server_address[1])

    def close(self) -> None:
        """Close the server."""
        self.server.shutdown()
        self.server.server_close()


def _answer(heard: ReadRequest) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
    return head if heard.method == b"HEAD" else head + ANSWER
