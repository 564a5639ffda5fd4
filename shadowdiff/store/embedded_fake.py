"""Redis in this process's memory, where no server runs: fakeredis, with the Lua libraries that it lacks.

In: nothing.  Out: clients of one shared fake.
Nothing here outlives the process.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import fakeredis

if TYPE_CHECKING:
    from redis.asyncio import Redis


class FakeStore:
    """One fake server, and clients of it."""

    __slots__ = ("_server", "version")

    def __init__(self) -> None:
        self.version = version("fakeredis")
        self._server = fakeredis.FakeServer(server_type="redis", version=(7,))

    def client(self) -> Redis:
        """Return a client; each sees the same data."""
        return fakeredis.FakeAsyncRedis(server=self._server)
