"""Run real applications on their servers: Starlette on uvicorn, Flask on werkzeug and wsgiref."""

from __future__ import annotations

import contextlib
import gzip
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import ServerHandler as WsgirefHandler
from wsgiref.simple_server import WSGIRequestHandler as WsgirefRequests
from wsgiref.simple_server import WSGIServer

import uvicorn
from flask import Flask, Response, request, stream_with_context
from shadowdiff_recorder import AsgiMiddleware, WsgiMiddleware
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route
from werkzeug.serving import WSGIRequestHandler as WerkzeugRequests
from werkzeug.serving import make_server

from tests.recorder.stub import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from starlette.requests import Request

PRODUCT = {"id": 7, "name": "Zoë", "tags": ["a", "b"], "text": "x" * 1200}
ZIPPED = gzip.compress(b"zipped" * 100, mtime=0)
LARGE = b"0123456789abcdef" * 8192


class Gates:
    """Two events that let a test pause a stream between two parts."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()


def flask_app(gates: Gates) -> Any:  # noqa: C901  one view per kind of answer
    """Return the Flask application."""
    app = Flask("v1")

    def as_json() -> Any:
        return PRODUCT

    def cookies() -> Any:
        answer = Response("two cookies")
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    def nothing() -> Any:
        return "", 204

    def zipped() -> Any:
        return Response(ZIPPED, headers={"content-encoding": "gzip"})

    def large() -> Any:
        return Response(LARGE, mimetype="application/octet-stream")

    def stream() -> Any:
        return Response(stream_with_context(b"%d," % number for number in range(50)), mimetype="text/plain")

    def fails() -> Any:
        raise RuntimeError("v1 is broken")

    def echo() -> Any:
        return Response(request.get_data(), mimetype="text/plain")

    def held() -> Any:
        def parts() -> Iterator[bytes]:
            yield b"first"
            gates.goes_on.wait(DEADLINE_S)
            yield b"second"

        return Response(parts(), mimetype="text/event-stream")

    for path, view in {
        "/json": as_json,
        "/cookies": cookies,
        "/nothing": nothing,
        "/zipped": zipped,
        "/large": large,
        "/stream": stream,
        "/fails": fails,
        "/held": held,
        "/café": as_json,
    }.items():
        app.add_url_rule(path, path, view)
    app.add_url_rule("/echo", "/echo", echo, methods=["POST"])
    app.logger.disabled = True
    return app.wsgi_app


def starlette_app(gates: Gates) -> Any:  # noqa: C901  one view per kind of answer
    """Return the Starlette application."""

    async def as_json(_request: Request) -> StarletteResponse:
        return JSONResponse(PRODUCT)

    async def cookies(_request: Request) -> StarletteResponse:
        answer = PlainTextResponse("two cookies")
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    async def nothing(_request: Request) -> StarletteResponse:
        return StarletteResponse(status_code=204)

    async def zipped(_request: Request) -> StarletteResponse:
        return StarletteResponse(ZIPPED, headers={"content-encoding": "gzip"})

    async def large(_request: Request) -> StarletteResponse:
        return StarletteResponse(LARGE, media_type="application/octet-stream")

    async def numbers() -> AsyncIterator[bytes]:
        for number in range(50):
            yield b"%d," % number

    async def stream(_request: Request) -> StarletteResponse:
        return StreamingResponse(numbers(), media_type="text/plain")

    async def fails(_request: Request) -> StarletteResponse:
        raise RuntimeError("v1 is broken")

    async def echo(asked: Request) -> StarletteResponse:
        return PlainTextResponse(await asked.body())

    async def held(_request: Request) -> StarletteResponse:
        def parts() -> Iterator[bytes]:
            yield b"first"
            gates.goes_on.wait(DEADLINE_S)
            yield b"second"

        return StreamingResponse(parts(), media_type="text/event-stream")

    routes = {
        "/json": as_json,
        "/cookies": cookies,
        "/nothing": nothing,
        "/zipped": zipped,
        "/large": large,
        "/stream": stream,
        "/fails": fails,
        "/held": held,
        "/café": as_json,
    }
    return Starlette(
        routes=[Route(path, view) for path, view in routes.items()] + [Route("/echo", echo, methods=["POST"])]
    )


@contextlib.contextmanager
def by_uvicorn(app: Any) -> Generator[int]:
    """Serve an application with uvicorn, and yield the port."""
    config = uvicorn.Config(app, port=0, log_level="critical", date_header=False, server_header=False)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    until(lambda: server.started, "uvicorn to start")
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


class UndatedWerkzeug(WerkzeugRequests):
    """Werkzeug's request handler with a fixed date and without logs."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return a fixed date."""
        del timestamp
        return "a date"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Suppress the server's log lines."""


class UndatedHandler(WsgirefHandler):
    """wsgiref's server handler without the Date and Server headers."""

    http_version = "1.1"
    origin_server = False

    def log_exception(self, exc_info: Any) -> None:
        """Suppress the server's log lines."""


class UndatedWsgiref(WsgirefRequests):
    """wsgiref's request handler without logs."""

    def handle(self) -> None:
        """Serve one request as wsgiref does, with the server handler in this module."""
        self.raw_requestline = self.rfile.readline(65537)
        if self.parse_request():
            handler = UndatedHandler(
                self.rfile, cast("Any", self.wfile), self.get_stderr(), self.get_environ(), multithread=True
            )
            handler.request_handler = self  # type: ignore[attr-defined]
            handler.run(cast("Any", self.server).get_app())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Suppress the server's log lines."""


class ThreadingWsgiref(socketserver.ThreadingMixIn, WSGIServer):
    """wsgiref's server with one thread per request."""

    request_queue_size = 128


@contextlib.contextmanager
def serving(server: Any) -> Generator[int]:
    """Run a socketserver in a thread, and yield the port."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def by_werkzeug(app: Any) -> Generator[int]:
    """Serve an application with werkzeug's threaded server."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=UndatedWerkzeug)
    with serving(server) as port:
        yield port


@contextlib.contextmanager
def by_wsgiref(app: Any) -> Generator[int]:
    """Serve an application with wsgiref's server and one thread per request."""
    server = ThreadingWsgiref(("127.0.0.1", 0), UndatedWsgiref)
    server.set_app(app)
    with serving(server) as port:
        yield port


STACKS: dict[str, tuple[Callable[[Gates], Any], Any, Callable[[Any], Any]]] = {
    "starlette-uvicorn": (starlette_app, AsgiMiddleware, by_uvicorn),
    "flask-werkzeug": (flask_app, WsgiMiddleware, by_werkzeug),
    "flask-wsgiref": (flask_app, WsgiMiddleware, by_wsgiref),
}
