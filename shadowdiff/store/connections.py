"""What connections to the store do otherwise than redis-py's own: pack calls in C, and share one TLS context.

In: clients of redis-py.  Out: the same clients, whose connections are so.
Holds: redis-py's asyncio client packs a call in Python, where its other one lets hiredis do it in a quarter of the
time. And it makes a context for each TLS connection, which reads the system's CAs every time: 48 ms in which nothing
else runs, times hundreds of connections to a cluster; here they share one while its files stay as they are. A
certificate that was renewed is read by the next connection.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from redis.asyncio.connection import Connection, SSLConnection
from redis.connection import HiredisRespSerializer

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster
    from redis.asyncio.connection import RedisSSLContext

_FILES: Final = ("ca_certs", "certfile", "keyfile")
_pack = cast("Any", HiredisRespSerializer()).pack
_shared: dict[tuple[Any, ...], RedisSSLContext] = {}


class _PackedInC:
    """Goes before a connection class of redis-py."""

    def pack_command(self, *words: Any) -> list[bytes]:
        return _pack(*words)


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


def _suited(kind: type[Any]) -> type[Any]:
    """Return a connection class of redis-py with what is ours before it."""
    ours: tuple[type[Any], ...] = (_PackedInC, _OneContext) if issubclass(kind, SSLConnection) else (_PackedInC,)
    return type(f"Suited{kind.__name__}", (*ours, kind), {})


def suit(client: Redis) -> None:
    """Let the connections that a client opens be so."""
    pool = cast("Any", client).connection_pool
    pool.connection_class = _suited(pool.connection_class)


def suit_cluster(cluster: RedisCluster, *, tls: bool) -> None:
    """Let the connections to all nodes be so, of nodes that are found later too."""
    made = cast("Any", cluster)
    kind = _suited(SSLConnection if tls else Connection)
    made.connection_kwargs["connection_class"] = kind
    for node in made.nodes_manager.startup_nodes.values():
        node.connection_class = kind
