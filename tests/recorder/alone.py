"""Use the recorder as an old v1 would: on any Python version, without site-packages and environment variables.

Run `python -I -S alone.py FOLDER`, where FOLDER contains a copy of the recorder. The script prints JSON with the loaded
modules and the records that the script's own port received. The script's process exits while one record is still
queued.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

sys.path.insert(0, sys.argv[1])
before = set(sys.modules)

from shadowdiff_recorder import AsgiMiddleware, WsgiMiddleware  # noqa: E402  the path is set above

received: list[Any] = []


class Port(BaseHTTPRequestHandler):
    """A stub port that accepts every batch and every mirrored request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Accept a batch."""
        body = self.rfile.read(int(self.headers["content-length"]))
        received.extend(json.loads(line) for line in body.splitlines())
        self._accept()

    def do_GET(self) -> None:
        """Accept a mirrored request."""
        received.append({"mirrored": self.path})
        self._accept()

    def _accept(self) -> None:
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Suppress the server's log lines."""


def serve() -> str:
    """Serve a stub port in a thread, and return the port's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def wsgi_app(_environ: Any, start_response: Any) -> Any:
    """Return the response from a generator."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"by wsgi"


async def asgi_app(_scope: Any, _receive: Any, send: Any) -> None:
    """Send the response in two parts."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"by ", "more_body": True})
    await send({"type": "http.response.body", "body": b"asgi"})


async def nowhere(_message: Any) -> None:
    """Discard a message."""


def main() -> None:
    """Send a request through each middleware, and print the result."""
    records, mirror = serve(), serve()
    by_wsgi: Any = WsgiMiddleware(wsgi_app, url=records, mirror_to=mirror)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/wsgi", "SERVER_NAME": "v1", "SERVER_PORT": "80"}
    result = by_wsgi(environ, lambda *_: None)  # pyright: ignore[reportUnknownLambdaType]
    list(result)
    result.close()
    by_asgi: Any = AsgiMiddleware(asgi_app, url=records)
    headers = [(b"host", b"v1"), (b"x-request-id", b"r")]
    scope = {"type": "http", "method": "GET", "path": "/asgi", "headers": headers}
    asyncio.run(by_asgi(scope, None, nowhere))
    flushed = by_wsgi.recorder.flush(10) and by_asgi.recorder.flush(10)
    stats = [by_wsgi.recorder.stats(), by_asgi.recorder.stats()]
    loaded = sorted(set(sys.modules) - before)
    print(json.dumps({"flushed": flushed, "received": received, "stats": stats, "loaded": loaded}))  # noqa: T201
    asyncio.run(by_asgi(scope, None, nowhere))  # the record stays in the queue, and the process exits anyway


main()
