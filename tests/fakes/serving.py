"""Serve an ASGI application on a free loopback port for the length of a block.

In: an application.  Out: its address, once it answers.
"""

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
    """Serve until the block ends, from a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Connections wait in the listener's backlog until the server takes them: no need to wait for it here.
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_WITHIN_S)
