"""Redis clients for one server, a cluster, or the master that sentinels name. Clients never retry on their own.

In a cluster, a command is sent again only if a node redirects it. Every failure is a RedisError, so callers handle a
failover in the same way as a lost server. A client that cannot reach any known node looks up the names in its URL
again. These connections differ from redis-py's connections in two ways. The connections encode commands in C (hiredis),
which takes a quarter of the time. All TLS connections use one TLS context while its files stay unchanged. Otherwise
redis-py creates a context and reads the system's CAs for each connection, which blocks for 48 ms. The next connection
uses the renewed certificate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

if TYPE_CHECKING:
    from redis.asyncio.connection import RedisSSLContext

Options = Mapping[str, str | bool]

NO_OPTIONS: Final[Options] = {}
CALL_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 2.0
_MOST_CONNECTIONS: Final = 4096
"""The maximum number of connections to one server. A server may hold all shards, each with its own connections."""
_FILES: Final = ("ca_certs", "certfile", "keyfile")
_pack = cast("Any", HiredisRespSerializer()).pack
_shared: dict[tuple[Any, ...], RedisSSLContext] = {}
CLUSTER: Final = "+cluster"
SENTINEL: Final = "+sentinel"
_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_KEYLESS: Final = frozenset({"INFO", "TIME", "PING"})
_KEY_INDEX: Final = {"XGROUP": 2}
_CHANGING: Final = (RedisClusterException, AttributeError, KeyError, RuntimeError)
"""When redis-py drops a failed node under load, it closes connections that other calls hold (their writer is None, or
uvloop reports a closed transport), and looks up nodes that its tables no longer contain."""


def open_client(url: str, login: Options = NO_OPTIONS, sentinel_login: Options = NO_OPTIONS) -> Client:
    """Return a client for any store URL: one server, a cluster (`+cluster`), or sentinels (`+sentinel`).

    login, sentinel_login: redis-py's login options for servers and sentinels, which are added to the options in the
    URL. Without `ssl`, sentinels use TLS if the URL selects TLS for the servers.
    """
    scheme = url.partition("://")[0]
    if scheme.endswith(CLUSTER):
        return ClusterClient(url, _client_options(login))
    if scheme.endswith(SENTINEL):
        return _SentinelClient(url, _client_options(login), sentinel_login)
    return connect(url, login)


def _client_options(login: Options) -> dict[str, Any]:
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": CALL_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 0,
        "max_connections": _MOST_CONNECTIONS,
        "client_name": "shadowdiff",
        **login,
    }


def connect(url: str, login: Options = NO_OPTIONS) -> Redis:
    """Return a client of one server (redis://, rediss://, unix://).

    login: redis-py's login options, which are added to the options in the URL. A TLS server needs a certificate for the
    host in the URL, signed by one of the given CAs or the system's CAs.
    """
    client: Redis = cast("Any", Redis).from_url(url, **_client_options(login))
    _customize(client)
    return client


class _PackInC:
    def pack_command(self, *words: Any) -> list[bytes]:
        return _pack(*words)


class _ShareContext:
    ssl_context: RedisSSLContext

    def _connection_arguments(self) -> Any:
        self.ssl_context = _shared_context(self.ssl_context)
        return cast("Any", super())._connection_arguments()  # noqa: SLF001 - redis-py's hook for subclasses


def _shared_context(context: RedisSSLContext) -> RedisSSLContext:
    """Return the existing TLS context for the same files, or else this context."""
    files = tuple((name, _file_version(getattr(context, name))) for name in _FILES)
    key = (str(cast("Any", context).cert_reqs), context.check_hostname, files)
    if key not in _shared:
        _shared.clear()  # only one store exists, so the files of the previous context have changed
        _shared[key] = context
    return _shared[key]


def _file_version(file: str | None) -> tuple[str, int] | None:
    """Return a file and its modification time. If a file is missing, the code that reads the file reports the error."""
    if file is None:
        return None
    path = Path(file)
    return file, path.stat().st_mtime_ns if path.exists() else 0


def _customized(kind: type[Any]) -> type[Any]:
    mixins: tuple[type[Any], ...] = (_PackInC, _ShareContext) if issubclass(kind, SSLConnection) else (_PackInC,)
    return type(f"Shadowdiff{kind.__name__}", (*mixins, kind), {})


def _customize(client: Redis) -> None:
    pool = cast("Any", client).connection_pool
    pool.connection_class = _customized(pool.connection_class)


class HostsUrl(NamedTuple):
    """The parts of a URL with several hosts. service: the name of the master, if the hosts are sentinels."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    tls: bool
    service: str
    db: int

    def __repr__(self) -> str:
        return f"HostsUrl(hosts={self.hosts}, service={self.service!r}, db={self.db})"


def check_url(url: str) -> None:
    """Check that each part of a store URL can be read. Raises: ValueError that quotes no part, not even a password."""
    try:
        if url.partition("://")[0].endswith((CLUSTER, SENTINEL)):
            parse_hosts_url(url)
        else:
            parse_url(url)
    except ValueError:
        message = "has an unreadable host or port; percent-encode special characters of the user and the password"
        raise ValueError(message) from None


def parse_hosts_url(url: str) -> HostsUrl:
    """Parse `redis+cluster://user:password@h1:7000,h2` or `redis+sentinel://h1,h2/mymaster/0`. Raises: ValueError."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    default_port = _SENTINEL_PORT if scheme.endswith(SENTINEL) else _REDIS_PORT
    service, _, db = path.partition("?")[0].partition("/")
    return HostsUrl(
        tuple(_host(host, default_port) for host in hosts.split(",")),
        unquote(user) or None,
        unquote(password) or None,
        scheme.startswith("rediss"),
        unquote(service),
        int(db or 0),
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"a host name is missing in {text!r}")
    return parts.hostname, parts.port or default_port


class _SentinelClient:
    """A client of the master; each new connection requests the master's address from the sentinels."""

    def __init__(self, url: str, options: Mapping[str, Any], sentinel_options: Mapping[str, Any]) -> None:
        """Take the options for the master, and the sentinels' options: username, password and ssl."""
        parsed = parse_hosts_url(url)
        timeout_s, shared = options["socket_connect_timeout"], ("retry", "client_name")
        sentinel: dict[str, Any] = {"ssl": parsed.tls, **sentinel_options, **{name: options[name] for name in shared}}
        sentinel |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        sentinel |= _certificates(options, tls=sentinel["ssl"])
        self._sentinels: Any = Sentinel(list(parsed.hosts), sentinel_kwargs=sentinel)
        server = _server_options(parsed, options)
        self._master = self._sentinels.master_for(parsed.service, db=parsed.db, ssl=parsed.tls, **server)
        for client in (*self._sentinels.sentinels, self._master):
            _customize(client)

    async def execute_command(self, *words: Any) -> Any:
        return await self._master.execute_command(*words)

    async def aclose(self) -> None:
        await self._master.aclose()
        await self._sentinels.aclose()


def _certificates(options: Mapping[str, Any], *, tls: bool) -> dict[str, Any]:
    return {name: value for name, value in options.items() if tls and name.startswith("ssl_")}


def _server_options(parsed: HostsUrl, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a server's options: the URL's login, which settings override; certificates only with TLS."""
    login = {"username": parsed.username, "password": parsed.password}
    plain = {name: value for name, value in options.items() if not name.startswith("ssl_")}
    given = {name: value for name, value in login.items() if value is not None}
    return given | plain | _certificates(options, tls=parsed.tls)


class ClusterClient:
    """A client of a cluster; if no known node replies, the client looks up the names in its URL again."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url = parse_hosts_url(url)
        self._options = options
        self._cluster = self._create()

    def _create(self) -> RedisCluster:
        cluster = cast("Any", RedisCluster)(
            startup_nodes=[ClusterNode(host, port) for host, port in self._url.hosts],
            require_full_coverage=False,
            ssl=self._url.tls,
            **_server_options(self._url, self._options),
        )
        kind = _customized(SSLConnection if self._url.tls else Connection)
        cluster.connection_kwargs["connection_class"] = kind  # for nodes that the client discovers later
        for node in cluster.nodes_manager.startup_nodes.values():
            node.connection_class = kind
        return cluster

    async def execute_command(self, *words: Any) -> Any:
        """Send one command to the node that holds its keys. Raises: redis.exceptions.RedisError."""
        try:
            cluster = await self._initialized()
            if words[0] in {"EVALSHA", "EVAL"}:
                return await cluster.execute_command(*words)
            return await cluster.execute_command(*words, target_nodes=self._node(cluster, words))
        except _CHANGING as error:
            raise RedisConnectionError(f"cluster: {error}") from error

    async def everywhere(self, *words: Any) -> dict[str, Any]:
        """Send one command to every master, and return the replies by address. Raises: RedisError if one fails."""
        try:
            masters = (await self._initialized()).get_primaries()
            calls = (self._cluster.execute_command(*words, target_nodes=node) for node in masters)
            replies = await asyncio.gather(*calls)
        except _CHANGING as error:
            raise RedisConnectionError(str(error)) from error
        return {str(node.name): reply for node, reply in zip(masters, replies, strict=True)}

    async def _initialized(self) -> RedisCluster:
        """Return a client that has the list of the cluster's nodes, and reads the list again after a failure."""
        cluster = self._cluster
        try:
            return await cluster.initialize()
        except BaseException:
            if self._cluster is cluster:
                self._cluster = self._create()  # use the URL, because all known nodes may be gone
            raise

    def _node(self, cluster: RedisCluster, words: tuple[Any, ...]) -> ClusterNode:
        """Return the node of a command's key. redis-py would ask a server for the key's position in the command."""
        if words[0] in _KEYLESS:
            return cluster.get_random_primary_node()
        key = words[words.index("STREAMS") + 1] if "STREAMS" in words else words[_KEY_INDEX.get(words[0], 1)]
        return cast("Any", cluster.nodes_manager).get_node_from_slot(cluster.keyslot(key))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._cluster.aclose()


Client = Redis | _SentinelClient | ClusterClient
