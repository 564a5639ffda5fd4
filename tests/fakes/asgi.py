"""Call an ASGI application in the same process, without a port or a client library, and return the response."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """A response of the application."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


async def post_form(app: ASGIApp, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
    """Submit a form as a browser does, with token, cookie and origin, and return the response."""
    body = urlencode({"csrf": "token-of-this-form", **fields}).encode()
    given = {"origin": "http://shadowdiff.example", "cookie": "shadowdiff_csrf=token-of-this-form"} | headers
    return await get(app, target, "POST", body, "application/x-www-form-urlencoded", **given)


async def get(
    app: ASGIApp,
    target: str,
    method: str = "GET",
    body: bytes = b"",
    content_type: str | None = None,
    **headers: str,
) -> Answer:
    """Send a GET to the application, and return the response."""
    kind = [] if content_type is None else [(b"content-type", content_type.encode())]
    named = headers.pop("host", "shadowdiff.example")
    kind += [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", named.encode()), *kind],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8082),
    }
    sent: list[Message] = []

    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()  # the client stays connected
        return waiting.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, body)
