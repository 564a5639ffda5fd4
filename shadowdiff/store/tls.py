"""One TLS context for all connections to the store.

In: clients of redis-py.  Out: the same clients, whose connections share a context while its files stay as they are.
Holds: redis-py makes a context for each connection, which reads the system's CAs every time: 48 ms in which nothing
else runs, times hundreds of connections to a cluster. A certificate that was renewed is read by the next connection.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from redis.asyncio.connection import SSLConnection

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster
    from redis.asyncio.connection import RedisSSLContext

_FILES: Final = ("ca_certs", "certfile", "keyfile")
_shared: dict[tuple[Any, ...], RedisSSLContext] = {}


class _OneContext:
    """Goes before a connection class of redis-py."""

    ssl_context: RedisSSLContext

    def _connection_arguments(self) -> Any:
        self.ssl_context = _context_like(self.ssl_context)
        return cast("Any", super())._connection_arguments()  # noqa: SLF001 - redis-py's own place to add to


def _context_like(wanted: RedisSSLContext) -> RedisSSLContext:
    """Return the context that others with the same files have made, or this one."""
    files = tuple((name, _state(getattr(wanted, name))) for name in _FILES)
    stated = (str(cast("Any", wanted).cert_reqs), wanted.check_hostname, files)
    if stated not in _shared:
        _shared.clear()  # there is one store; what was kept is of files that have changed since
        _shared[stated] = wanted
    return _shared[stated]


def _state(file: str | None) -> tuple[str, int] | None:
    """Return a file and when it was written; one that is missing is said by whoever reads it."""
    if file is None:
        return None
    path = Path(file)
    return file, path.stat().st_mtime_ns if path.exists() else 0


def _sharing(kind: type[Any]) -> type[Any]:
    return type(f"{kind.__name__}OfOneContext", (_OneContext, kind), {})


def share_context(client: Redis) -> None:
    """Let a client's connections share a context, where they speak TLS."""
    pool = cast("Any", client).connection_pool
    if issubclass(pool.connection_class, SSLConnection):
        pool.connection_class = _sharing(pool.connection_class)


def share_context_of_cluster(cluster: RedisCluster) -> None:
    """Let the connections to all nodes share a context, of nodes that are found later too."""
    made = cast("Any", cluster)
    kind = _sharing(SSLConnection)
    made.connection_kwargs["connection_class"] = kind
    for node in made.nodes_manager.startup_nodes.values():
        node.connection_class = kind
