"""The connection to Redis and the plain reads that several floors share.

In: a URL (or a client made elsewhere), a prefix, a number of shards. Out: script calls and reads by
relative name. Holds: redis-py never retries by itself, so that whoever sends decides what a second try
means; every command has a deadline; values come back as bytes and are never trusted as code.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import logging
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from shadowdiff.store.cluster import CLUSTER, SENTINEL, ClusterClient, SentinelClient
from shadowdiff.store.connections import suit
from shadowdiff.store.keys import Keys
from shadowdiff.store.reads import READS, answers, operands
from shadowdiff.store.scripts import Script
from shadowdiff.store.unreadable import number, reading, size
from shadowdiff.store.vault import UnopenableError, Vault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from shadowdiff.model.reader import Read
    from shadowdiff.store.cluster import Client
    from shadowdiff.store.scripts import Execute

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
_MOST_CONNECTIONS = 4096
"""To one server: each shard reads, parks, commits and sweeps over connections of its own, and one may have them all."""
SHARDS_KEY = "shards"
_CANNOT_WRITE = "MISCONF"
"""Of a script's call it stands inside the message. Source: Redis, src/server.c, writeCommandsGetDiskErrorMessage."""
_HASHES_A_CALL = 400
_SHARDS_OF_ONE_PATIENCE = 4
_MOST_PATIENCE = 4.0
_ONCE = Script(
    "once.lua",
    # Removing comes first: a full store refuses a script whose first write adds, and whoever waits for this empties it.
    b"local held = redis.call('GET', KEYS[1]) if held then return held end "
    b"redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]",
)
_HASHES = Script(
    "hashes.lua",
    b"local found = {} for i, key in ipairs(KEYS) do found[i] = redis.call('HGETALL', key) end return found",
)


class StoreMisfitError(Exception):
    """The store was written with other settings than the configuration's."""


def said(error: BaseException) -> str:
    """Return what an error is and says; redis-py's own `repr` leaves the message out."""
    return f"{type(error).__name__}: {error}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who connects, beside what the URL says; ca, cert, cert_key: PEM files of a rediss:// connection.

    sentinel_tls: None asks the sentinels as the URL says of the servers.
    """

    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    ca: str | None = None
    cert: str | None = None
    cert_key: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = dataclasses.field(default=None, repr=False)
    sentinel_tls: bool | None = None

    def options(self) -> dict[str, str | bool]:
        """Return what a server is told, as redis-py names it."""
        return _given(
            username=self.username,
            password=self.password,
            ssl_ca_certs=self.ca,
            ssl_certfile=self.cert,
            ssl_keyfile=self.cert_key,
        )

    def to_sentinels(self) -> dict[str, str | bool]:
        """Return what a sentinel is told instead."""
        return _given(username=self.sentinel_username, password=self.sentinel_password, ssl=self.sentinel_tls)


def _given(**named: str | bool | None) -> dict[str, str | bool]:
    return {name: value for name, value in named.items() if value is not None}


def _options(credentials: Credentials | None) -> dict[str, Any]:
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": CALL_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 0,
        "max_connections": _MOST_CONNECTIONS,
        "client_name": "shadowdiff",
        **(credentials.options() if credentials else {}),
    }


def open_client(url: str, credentials: Credentials | None = None) -> Client:
    """Return a client for any URL of a store: one server, a cluster (`+cluster`), or what sentinels name."""
    scheme = url.partition("://")[0]
    if scheme.endswith(CLUSTER):
        return ClusterClient(url, _options(credentials))
    if scheme.endswith(SENTINEL):
        return SentinelClient(url, _options(credentials), credentials.to_sentinels() if credentials else {})
    return connect(url, credentials)


def connect(url: str, credentials: Credentials | None = None) -> Redis:
    """Return a client for `url` (redis://, rediss://, unix://) that never retries by itself.

    A server that speaks TLS must show a certificate of the given CAs, or of the system's, for the host that was asked.
    """
    made: Redis = cast("Any", Redis).from_url(url, **_options(credentials))
    suit(made)
    return made


def _add(total: dict[str, int], counts: Iterable[tuple[bytes, bytes]]) -> None:
    for field, count in counts:
        name = field.decode()
        total[name] = total.get(name, 0) + size(count)


class Store:
    """One Redis: scripts and reads by relative name, and whether it answers."""

    def __init__(
        self,
        client: Client | Redis,
        prefix: str = "sd",
        shards: int = 1,
        key: bytes | None = None,
        processes: int = 1,
    ) -> None:
        """Take the client, what the keys begin with and are spread over, and how many processes share the load."""
        self.client = client
        self.vault = Vault(key)
        self._execute = cast("Execute", client.execute_command)  # pyright: ignore[reportUnknownMemberType] - untyped there
        self.keys = Keys(prefix, shards)
        self._processes = processes
        self.up = False
        self.version = ""

    @property
    def shards(self) -> int:
        """How many hash tags the keys are spread over."""
        return self.keys.shards

    @property
    def patience(self) -> float:
        """How many times as long calls are gathered where many shards or processes share the load: each sees less."""
        return min(_MOST_PATIENCE, max(1.0, self.shards / _SHARDS_OF_ONE_PATIENCE) * self._processes)

    async def run(
        self, script: Script, shard: int, keys: Sequence[str | bytes], args: Sequence[bytes | str | int]
    ) -> Any:
        """Run `script` with `keys` (relative) of `shard`; note whether the store answered.

        Raises: redis.exceptions.RedisError.
        """
        names = [self.keys.name(shard, key) for key in keys]
        return await self._note(script.run(self._execute, names, args))

    async def command(self, *words: Any) -> Any:
        """Send one command of plain words; raises redis.exceptions.RedisError."""
        return await self._note(self._execute(*words))

    async def _note(self, call: Awaitable[Any]) -> Any:
        """Await a call to Redis and remember whether it answered."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancels = task.cancelling()
        try:
            answer = await call
        except ResponseError as error:
            self.up = True  # it answered, if with a refusal
            if _CANNOT_WRITE in str(error):
                log.warning(
                    "the store cannot write to its disk, and refuses until it can", extra={"error": said(error)}
                )
            raise
        except (RedisError, OSError, TimeoutError) as error:
            if task.cancelling() > cancels:
                raise asyncio.CancelledError from error
            if self.up:
                log.warning("the store does not answer", extra={"error": said(error)})
            self.up = False
            raise
        if task.cancelling() > cancels:
            # redis-py sends under asyncio.wait_for, which up to Python 3.11 swallows a cancellation that comes as
            # the sending ends (bpo-37658): a loop over calls to Redis would never end.
            raise asyncio.CancelledError
        if not self.up:
            log.info("the store answers")
        self.up = True
        return answer

    async def check(self) -> None:
        """Learn the server's version, and fix the number of shards for this store's life.

        Raises: StoreMisfitError where the store was made with another number of shards; RedisError.
        """
        self.version = await self._server_version()
        held = await self.once(SHARDS_KEY, b"%d" % self.shards)
        with reading(SHARDS_KEY):
            found = number(held)
        if found != self.shards:
            raise StoreMisfitError(
                f"store.shards is {self.shards}, but the data under prefix {self.keys.prefix!r} was written with"
                f" {found}: set store.shards: {found}, or choose another store.prefix"
            )

    async def once(self, key: str, value: bytes) -> bytes:
        """Return what `key` says for this store's life: `value`, if nobody was quicker. Raises: RedisError."""
        held: bytes = await self.run(_ONCE, 0, [key], [value])
        return held

    async def _server_version(self) -> str:
        try:
            info: Any = await self.command("INFO", "server")
        except ResponseError:
            return ""  # fakeredis knows no INFO
        return str(info.get("valkey_version") or info.get("redis_version") or "")

    async def info(self, section: str) -> dict[str, dict[str, Any]]:
        """Return a section of INFO from every server that holds keys, by its address, or by none where there is one.

        Raises: redis.exceptions.RedisError.
        """
        return await self._of_each_master("INFO", section)

    async def clocks_s(self) -> dict[str, float]:
        """Return each master's clock in Unix seconds by its address, "" where there is one. Raises: as `info`."""
        told = await self._of_each_master("TIME")
        return {address: int(seconds) + int(micros) / 1e6 for address, (seconds, micros) in told.items()}

    async def _of_each_master(self, *words: str) -> dict[str, Any]:
        if isinstance(self.client, ClusterClient):
            return await self._note(self.client.everywhere(*words))
        return {"": await self.command(*words)}

    async def counts(self, key: str) -> dict[str, int]:
        """Return a hash of counts, summed over the shards."""
        total: dict[str, int] = {}
        for fields in await self._everywhere("HGETALL", key):
            with reading(key):
                _add(total, cast("dict[bytes, bytes]", fields).items())
        return total

    async def counts_of(self, keys: Sequence[str]) -> list[dict[str, int]]:
        """Return many hashes of counts, each summed over the shards, a few hundred of a shard in one call."""
        total: list[dict[str, int]] = [{} for _ in keys]
        for first in range(0, len(keys), _HASHES_A_CALL):
            some = keys[first : first + _HASHES_A_CALL]
            for found in await asyncio.gather(*(self.run(_HASHES, shard, some, []) for shard in range(self.shards))):
                for key, counts, flat in zip(
                    some, total[first : first + len(some)], cast("list[list[bytes]]", found), strict=True
                ):
                    with reading(key):
                        _add(counts, zip(flat[::2], flat[1::2], strict=True))
        return total

    async def newest(self, key: str, n: int) -> list[bytes]:
        """Return the newest `n` of a list over all shards, greatest value first."""
        lists = cast("list[list[bytes]]", await self._everywhere("LRANGE", key, 0, n - 1))
        return heapq.nlargest(n, [value for part in lists for value in part])

    async def value(self, key: str) -> bytes | None:
        """Return a string from whichever shard holds it."""
        found = cast("list[bytes | None]", await self._everywhere("GET", key))
        return next((value for value in found if value is not None), None)

    async def read(self, reads: Sequence[Read]) -> list[list[Any]]:
        """Return for each shard the answers to `reads`, each shard asked once. Raises: redis.exceptions.RedisError."""
        keys, args = operands(reads)

        async def of_shard(shard: int) -> list[Any]:
            if not keys:
                return [[] for _ in reads]
            found = await self.run(READS, shard, keys, args)
            with reading(reads[0].key if len(reads) == 1 else f"{reads[0].key} and others"):
                return answers(reads, found)

        return list(await asyncio.gather(*(of_shard(shard) for shard in range(self.shards))))

    def opened(self, stored: bytes, name: bytes) -> bytes | None:
        """Return what a value that lies under `name` says; None where it cannot be opened."""
        try:
            return self.vault.open(stored, name)
        except UnopenableError:
            return None

    async def _everywhere(self, command: str, key: str, *args: int) -> list[Any]:
        calls = (self.command(command, self.keys.name(shard, key), *args) for shard in range(self.shards))
        return list(await asyncio.gather(*calls))

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()
