"""A stub of shadowdiff's ports that accepts what the recorder sends, and responds as a test requires.

The stub uses real sockets and the wire format of the records port. The stub implements nothing behind the port.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 20.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` is true; at the timeout, fail with `what`."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {DEADLINE_S} s for: {what}"
        threading.Event().wait(0.005)


@dataclass
class StubRequest:
    """One complete request to the stub."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str:
        """Return the only value of a header, or '' if it is missing."""
        values = [value for known, value in self.headers if known.lower() == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else ""

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return the records in an NDJSON body, with decoded response bodies."""
        lines = [json.loads(line) for line in self.body.splitlines()]
        return [{**line, "body": base64.b64decode(line["body_base64"], validate=True)} for line in lines]


@dataclass
class Stub:
    """The received requests, and the response to each.

    The stub responds with `status` when `gate` admits the request.
    """

    status: int = 202
    answer: bytes | None = None
    hang_up: bool = False
    asked: list[StubRequest] = field(default_factory=list[StubRequest])
    answered: int = 0
    url: str = ""
    _gate: threading.Semaphore | None = None
    _open: bool = False

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return all received records, in order."""
        return [record for asked in list(self.asked) for record in asked.records]

    def hold(self, let_through: int = 0) -> None:
        """Read every request, but respond only to the given number of requests."""
        self._gate = threading.Semaphore(let_through)

    def release(self) -> None:
        """Respond to the held requests and to all later ones."""
        self._open = True
        if self._gate is not None:
            self._gate.release(10_000)

    def wait_turn(self) -> None:
        """Block a handler until the stub may respond to the handler's request."""
        if self._gate is not None and not self._open:
            self._gate.acquire()


class StubServer:
    """Serves a Stub on a free port from threads until the context ends."""

    def __init__(self, stub: Stub, port: int = 0) -> None:
        self.stub = stub
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(stub))
        self._server.daemon_threads = False
        self.port = self._server.server_port
        stub.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Stub:
        self._thread.start()
        return self.stub

    def __exit__(self, *error: object) -> None:
        self.stub.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 1.0  # closes idle connections, as real servers do
        connections = 0

        def setup(self) -> None:
            super().setup()
            Handler.connections += 1
            self.number = Handler.connections

        def handle_one_request(self) -> None:
            try:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                self._take()
                self.wfile.flush()
            except OSError:  # the recorder closed this connection
                self.close_connection = True

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            target = self.raw_requestline.split(b" ")[1].decode("latin-1")
            stub.asked.append(StubRequest(self.command, target, self.headers.items(), body, self.number))
            stub.wait_turn()
            if stub.hang_up:
                self.close_connection = True
                return
            answer = stub.answer
            if answer is None:
                answer = json.dumps({"accepted": body.count(b"\n"), "refused": []}).encode()
            stub.answered += 1
            self.send_response_only(stub.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    return Handler
