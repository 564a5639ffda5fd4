"""The baseline: a bare forwarder with uvicorn (raw ASGI, uvloop, httptools) and aiohttp.

Takes PORT and the upstream's URL; forwards each request with its headers and returns v2's response.
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn
from yarl import URL


class Forwarder:
    """One ASGI application, one pooled client."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Forward one request."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            )
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        url = URL(self._upstream + scope["raw_path"].decode("latin-1"), encoded=True)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        async with self._session.request(
            scope["method"], url, headers=headers, data=body or None, allow_redirects=False
        ) as response:
            answer = await response.read()
            status = response.status
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        Forwarder(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), http="httptools", loop="uvloop", ws="none",
        lifespan="off", log_config=None, access_log=False, server_header=False,
    )  # fmt: skip
