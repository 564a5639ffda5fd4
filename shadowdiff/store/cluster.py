"""Redis Cluster and Sentinel: the same commands, sent to whoever holds the key by now.

In: a URL with several hosts.  Out: a client with the two calls that a store needs.
Holds: nothing is sent twice by itself but what a node refused with a redirection; every failure is a RedisError, so
that who rides out a lost server rides out a failover; a node that nobody reaches any more is looked for by name anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from shadowdiff.store.connections import suit, suit_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER: Final = "+cluster"
SENTINEL: Final = "+sentinel"
_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_KEYLESS: Final = frozenset({"INFO", "TIME", "PING"})
_KEY_PLACE: Final = {"XGROUP": 2}


class Client(Protocol):
    """What a store asks of its connection."""

    async def execute_command(self, *words: Any) -> Any:
        """Send one command; raises redis.exceptions.RedisError."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Hosts(NamedTuple):
    """What a URL with several hosts says. service: of sentinels, the name of the master."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    tls: bool
    service: str
    db: int


def hosts_of(url: str) -> Hosts:
    """Read `redis+cluster://user:password@h1:7000,h2:7000` or `redis+sentinel://h1,h2/mymaster/0`.

    Raises: ValueError.
    """
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    login, _, hosts = place.rpartition("@")
    user, _, password = login.partition(":")
    default = _SENTINEL_PORT if scheme.endswith(SENTINEL) else _REDIS_PORT
    service, _, db = path.partition("?")[0].partition("/")
    return Hosts(
        tuple(_host(one, default) for one in hosts.split(",")),
        unquote(user) or None,
        unquote(password) or None,
        scheme.startswith("rediss"),
        unquote(service),
        int(db or 0),
    )


def _host(place: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError(f"names no host in {place!r}")
    return parts.hostname, parts.port or default


class SentinelClient:
    """A client of the master that the sentinels at a URL name, whichever that is when it connects."""

    def __init__(self, url: str, options: Mapping[str, Any], to_sentinels: Mapping[str, Any]) -> None:
        """Take what the master is told, and what the sentinels are: username, password and ssl where they have any."""
        self._told = told = hosts_of(url)
        within_s, named = options["socket_connect_timeout"], ("retry", "client_name")
        asked: dict[str, Any] = {"ssl": told.tls, **to_sentinels, **{name: options[name] for name in named}}
        asked |= {"socket_timeout": within_s, "socket_connect_timeout": within_s}
        asked |= _certificates(options, tls=asked["ssl"])
        self._sentinels: Any = Sentinel(list(told.hosts), sentinel_kwargs=asked)
        self._master = self._sentinels.master_for(told.service, db=told.db, ssl=told.tls, **_named(told, options))
        for one in (*self._sentinels.sentinels, self._master):
            suit(one)

    def __repr__(self) -> str:
        """State whom it asks, and for which master."""
        return f"<SentinelClient {self._told.hosts} {self._told.service}>"

    async def execute_command(self, *words: Any) -> Any:
        """Send one command to the master. Raises: redis.exceptions.RedisError."""
        return await self._master.execute_command(*words)

    async def aclose(self) -> None:
        """Close every connection, those to the sentinels too."""
        await self._master.aclose()
        await self._sentinels.aclose()


def _certificates(options: Mapping[str, Any], *, tls: bool) -> dict[str, Any]:
    return {name: value for name, value in options.items() if tls and name.startswith("ssl_")}


def _named(told: Hosts, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a server is told: the login, the settings' over the URL's, and certificates where it is TLS."""
    login = {"username": told.username, "password": told.password}
    plain = {name: value for name, value in options.items() if not name.startswith("ssl_")}
    given = {name: value for name, value in login.items() if value is not None}
    return given | plain | _certificates(options, tls=told.tls)


class ClusterClient:
    """A client of a cluster, made anew from the names in its URL when none of the nodes known answers."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._told = hosts_of(url)
        self._options = options
        self._made = self._make()

    def __repr__(self) -> str:
        """State where it begins."""
        return f"<ClusterClient {self._told.hosts}>"

    def _make(self) -> RedisCluster:
        told = self._told
        made = cast("Any", RedisCluster)(
            startup_nodes=[ClusterNode(host, port) for host, port in told.hosts],
            require_full_coverage=False,
            ssl=told.tls,
            **_named(told, self._options),
        )
        suit_cluster(made, tls=told.tls)
        return made

    async def execute_command(self, *words: Any) -> Any:
        """Send one command to the node that holds its keys. Raises: redis.exceptions.RedisError."""
        try:
            cluster = await self._reached()
            if words[0] in {"EVALSHA", "EVAL"}:
                return await cluster.execute_command(*words)
            return await cluster.execute_command(*words, target_nodes=self._node(cluster, words))
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error
        except (AttributeError, KeyError, RuntimeError) as error:
            # As redis-py drops a node that failed, it closes connections that others were just given (their writer is
            # None, or uvloop says that it is closed), and asks its tables for what is no longer there. Seen under load
            # as a master died.
            raise RedisConnectionError(f"the cluster changes: {error}") from error

    async def everywhere(self, *words: Any) -> dict[str, Any]:
        """Send one command without keys to every master; return what each said by its address.

        Raises: redis.exceptions.RedisError, also where one of them does not answer.
        """
        try:
            masters = (await self._reached()).get_primaries()
            told = await asyncio.gather(*(self._made.execute_command(*words, target_nodes=node) for node in masters))
        except (RedisClusterException, AttributeError, KeyError, RuntimeError) as error:
            raise RedisConnectionError(str(error)) from error
        return {str(node.name): one for node, one in zip(masters, told, strict=True)}

    async def _reached(self) -> RedisCluster:
        """Return a client that knows the cluster's nodes; after a failure it asks them anew."""
        cluster = self._made
        try:
            return await cluster.initialize()
        except BaseException:
            if self._made is cluster:
                self._made = self._make()  # by the names in the URL: those that it had learned may all be gone
            raise

    def _node(self, cluster: RedisCluster, words: tuple[Any, ...]) -> ClusterNode:
        """Return who holds a command's key, without asking a server where in the command it stands."""
        if words[0] in _KEYLESS:
            return cluster.get_random_primary_node()
        key = words[words.index("STREAMS") + 1] if "STREAMS" in words else words[_KEY_PLACE.get(words[0], 1)]
        return cast("Any", cluster.nodes_manager).get_node_from_slot(cluster.keyslot(key))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._made.aclose()
