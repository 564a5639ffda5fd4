"""Serve an application once without a network, and return the bytes that a server would send."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from wsgiref.handlers import SimpleHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping, Sequence

    WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class OneRequest(SimpleHandler):
    """The standard library's WSGI server for one request, without headers that depend on the date."""

    http_version = "1.1"
    server_software = None  # type: ignore[assignment]
    os_environ: MutableMapping[str, str] = {}  # noqa: RUF012
    status: str

    def _write(self, data: bytes) -> None:
        self.stdout.write(data)

    def log_exception(self, exc_info: Any) -> None:
        """Suppress the server's log, because tests read the same output stream."""
        del exc_info

    def send_preamble(self) -> None:
        """Send the status line without a Date header."""
        self._write(f"HTTP/{self.http_version} {self.status}\r\n".encode("latin-1"))


def environ(method: str = "GET", path: str = "/", **more: str) -> dict[str, Any]:
    """Return the environ that a server makes for one request with an id."""
    target, _, query = path.partition("?")
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": target,
        "QUERY_STRING": query,
        "SERVER_NAME": "v1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "v1.example",
        "HTTP_X_REQUEST_ID": "req-1",
        **more,
    }


def ignore_head(*_head: object) -> None:
    """Ignore a call to start_response."""


def serve_wsgi(app: WsgiApp, request: dict[str, Any], body: bytes = b"") -> bytes:
    """Return the bytes that a server sends for one request."""
    out = io.BytesIO()
    handler = OneRequest(io.BytesIO(body), out, io.StringIO(), request, multithread=True, multiprocess=False)
    handler.run(app)
    return out.getvalue()


async def serve_asgi(
    app: Any,
    headers: Sequence[tuple[bytes, bytes]] = ((b"host", b"v1.example"), (b"x-request-id", b"req-1")),
    *,
    method: str = "GET",
    raw_path: bytes | None = b"/",
    query: bytes = b"",
    body: Sequence[bytes] = (b"",),
    path: str = "",
) -> list[dict[str, Any]]:
    """Return the messages that an application sends for one request."""
    sent: list[dict[str, Any]] = []
    parts = list(body)

    async def receive() -> dict[str, Any]:
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asked = {
        "type": "http",
        "method": method,
        "path": path or (raw_path or b"/").decode(),
        "raw_path": raw_path,
        "query_string": query,
        "headers": list(headers),
    }
    await app(asked, receive, send)
    return sent
