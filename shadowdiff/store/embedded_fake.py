"""Redis in this process's memory, where no server runs here.

In: nothing.  Out: clients of one shared fake.
Holds: streams, groups and Lua scripts work; of Redis' Lua libraries only `cjson` is there (no `struct`, `cmsgpack`,
`bit`, `redis.sha1hex`), and a script that sets a Lua global spoils the fake for every later one. Nothing
here outlives the process.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import fakeredis

if TYPE_CHECKING:
    from redis.asyncio import Redis


class _Client(fakeredis.FakeAsyncRedis):
    """A client of the fake, which knows no INFO by itself."""

    async def info(self, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Answer as a server does, as far as the product reads it."""
        return {"redis_version": f"fakeredis {version('fakeredis')}"}


class FakeStore:
    """One fake server, and clients of it."""

    __slots__ = ("_server", "version")

    def __init__(self) -> None:
        self.version = version("fakeredis")
        self._server = fakeredis.FakeServer(server_type="redis", version=(7,))

    def client(self) -> Redis:
        """Return a client; each sees the same data."""
        return _Client(server=self._server)
