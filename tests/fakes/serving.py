"""Serve an ASGI application on a free loopback port until a block ends."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.types import ASGIApp

STOP_WITHIN_S = 10.0


@contextmanager
def served(app: ASGIApp) -> Generator[str]:
    """Run a server in a thread until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Early connections wait in the listener's backlog, so a test need not wait for the server.
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_WITHIN_S)
