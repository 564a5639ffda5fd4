"""The store: run scripts and shared reads over one client, with relative key names.

Every command has a deadline and is sent once: the caller decides whether to send it again. Replies are bytes that are
never run as code. Reads (`model.reader.Read`) become one script call per shard, with read-only commands.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from typing import TYPE_CHECKING, Any, assert_never, cast

from redis.exceptions import ResponseError

from shadowdiff.model.store_reader import Between, Card, Fields, Members, Read, Scores, Top, Whole
from shadowdiff.store.connections import ClusterClient
from shadowdiff.store.errors import STORE_ERRORS, describe_error, number, reading, size
from shadowdiff.store.keys import Keys
from shadowdiff.store.scripts import HASHES, ONCE, READS, Script
from shadowdiff.store.value_codec import ValueCodec, ValueCodecError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from shadowdiff.store.connections import Client
    from shadowdiff.store.scripts import Execute

log = logging.getLogger(__name__)

SHARDS_KEY = "shards"
_CANNOT_WRITE = "MISCONF"
"""A part of the error message of a script. Source: Redis, src/server.c, writeCommandsGetDiskErrorMessage."""
_HASHES_PER_CALL = 400
_SHARDS_WITHOUT_STRETCH = 4
_MOST_STRETCH = 4.0


class StoreMismatchError(Exception):
    """The store was written with settings that differ from the configuration."""


def _add_counts(total: dict[str, int], counts: Iterable[tuple[bytes, bytes]]) -> None:
    for field, count in counts:
        name = field.decode()
        total[name] = total.get(name, 0) + size(count)


class Store:
    """One Redis store. `up`: whether it replied to the last call."""

    def __init__(
        self, client: Client, prefix: str = "sd", shards: int = 1, key: bytes | None = None, processes: int = 1
    ) -> None:
        """Take the client, the key prefix, the number of shards, the encryption key, and the number of processes."""
        self.client = client
        self.value_codec = ValueCodec(key)
        self._execute = cast("Execute", client.execute_command)  # pyright: ignore[reportUnknownMemberType] - untyped there
        self.keys = Keys(prefix, shards)
        self._processes = processes
        self.up = False
        self.version = ""

    @property
    def shards(self) -> int:
        """The number of hash tags among which the keys are distributed."""
        return self.keys.shards

    @property
    def gather_stretch(self) -> float:
        """How many times longer calls collect work, because with more shards or processes each call contains less."""
        return min(_MOST_STRETCH, max(1.0, self.shards / _SHARDS_WITHOUT_STRETCH) * self._processes)

    async def run(
        self, script: Script, shard: int, keys: Sequence[str | bytes], args: Sequence[bytes | str | int]
    ) -> Any:
        """Run `script` with the relative `keys` in `shard`. Raises: redis.exceptions.RedisError."""
        names = [self.keys.name(shard, key) for key in keys]
        return await self._observed(script.run(self._execute, names, args))

    async def command(self, *words: Any) -> Any:
        """Send one command. Raises: redis.exceptions.RedisError."""
        return await self._observed(self._execute(*words))

    async def _observed(self, call: Awaitable[Any]) -> Any:
        """Await a call, and record whether the store replied."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancels = task.cancelling()
        try:
            reply = await call
        except ResponseError as error:
            self.up = True  # an error reply also counts as a reply
            if _CANNOT_WRITE in str(error):
                log.warning("store cannot write to its disk; retrying", extra={"error": describe_error(error)})
            raise
        except STORE_ERRORS as error:
            if task.cancelling() > cancels:
                raise asyncio.CancelledError from error
            if self.up:
                log.warning("store unavailable", extra={"error": describe_error(error)})
            self.up = False
            raise
        if task.cancelling() > cancels:
            # redis-py sends inside asyncio.wait_for. Up to Python 3.11, `wait_for` swallows a cancellation that arrives
            # when sending ends (bpo-37658), so a loop of Redis calls would never end.
            raise asyncio.CancelledError
        if not self.up:
            log.info("store available")
        self.up = True
        return reply

    async def check(self) -> None:
        """Read the server's version, and permanently set the store's number of shards.

        Raises: StoreMismatchError if the store has another number of shards; RedisError.
        """
        try:
            server = await self.command("INFO", "server")
            self.version = str(server.get("valkey_version") or server.get("redis_version") or "")
        except ResponseError:
            self.version = ""  # fakeredis has no INFO
        stored = await self.once(SHARDS_KEY, b"%d" % self.shards)
        with reading(SHARDS_KEY):
            shards = number(stored)
        if shards != self.shards:
            raise StoreMismatchError(
                f"store.shards is {self.shards}, but the data under prefix {self.keys.prefix!r} was written with"
                f" {shards}: set store.shards: {shards}, or choose another store.prefix"
            )

    async def once(self, key: str, value: bytes) -> bytes:
        """Set `key` unless another process has set it; return its value. Raises: RedisError."""
        stored: bytes = await self.run(ONCE, 0, [key], [value])
        return stored

    async def info(self, section: str) -> dict[str, dict[str, Any]]:
        """Return an INFO section of each master by address; for one server, the address is "". Raises: RedisError."""
        return await self._each_master("INFO", section)

    async def clocks_s(self) -> dict[str, float]:
        """Return each master's clock in Unix seconds. The addresses and errors are the same as those of `info`."""
        replies = await self._each_master("TIME")
        return {address: int(seconds) + int(micros) / 1e6 for address, (seconds, micros) in replies.items()}

    async def _each_master(self, *words: str) -> dict[str, Any]:
        if isinstance(self.client, ClusterClient):
            return await self._observed(self.client.everywhere(*words))
        return {"": await self.command(*words)}

    async def counts(self, key: str) -> dict[str, int]:
        """Return a hash of counts, as the sum of all shards."""
        total: dict[str, int] = {}
        for fields in await self._each_shard("HGETALL", key):
            with reading(key):
                _add_counts(total, cast("dict[bytes, bytes]", fields).items())
        return total

    async def counts_of(self, keys: Sequence[str]) -> list[dict[str, int]]:
        """Return several hashes of counts, each as the sum of all shards, with few calls."""
        totals: list[dict[str, int]] = [{} for _ in keys]
        for first in range(0, len(keys), _HASHES_PER_CALL):
            part, sums = keys[first : first + _HASHES_PER_CALL], totals[first : first + _HASHES_PER_CALL]
            for hashes in await asyncio.gather(*(self.run(HASHES, shard, part, []) for shard in range(self.shards))):
                for key, total, flat in zip(part, sums, cast("list[list[bytes]]", hashes), strict=True):
                    with reading(key):
                        _add_counts(total, _pairs(flat))
        return totals

    async def newest(self, key: str, n: int) -> list[bytes]:
        """Return the newest `n` values of a list from all shards, greatest value first."""
        lists = cast("list[list[bytes]]", await self._each_shard("LRANGE", key, 0, n - 1))
        return heapq.nlargest(n, [value for part in lists for value in part])

    async def value(self, key: str) -> bytes | None:
        """Return a string from the shard that has it."""
        found = cast("list[bytes | None]", await self._each_shard("GET", key))
        return next((value for value in found if value is not None), None)

    async def read(self, reads: Sequence[Read]) -> list[list[Any]]:
        """Return the replies to `reads` for each shard, with one call per shard. Raises: RedisError."""
        requests = [_request(read) for read in reads]
        keys = [read.key for read, request in zip(reads, requests, strict=True) if request]
        args = [word for command, words, _ in filter(None, requests) for word in (command, len(words), *words)]

        async def read_shard(shard: int) -> list[Any]:
            replies = iter(cast("list[Any]", await self.run(READS, shard, keys, args)) if keys else ())
            with reading(f"{reads[0].key} and others" if len(reads) > 1 else "".join(keys)):
                return [request[2](next(replies)) if request else [] for request in requests]

        return await asyncio.gather(*(read_shard(shard) for shard in range(self.shards)))

    def decode_value(self, stored: bytes, name: bytes) -> bytes | None:
        """Return the decoded value that is stored under `name`, or None if it cannot be decoded."""
        try:
            return self.value_codec.decode(stored, name)
        except ValueCodecError:
            return None

    async def _each_shard(self, command: str, key: str, *args: int) -> list[Any]:
        calls = (self.command(command, self.keys.name(shard, key), *args) for shard in range(self.shards))
        return await asyncio.gather(*calls)

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()


def _request(read: Read) -> tuple[str, Sequence[str | int], Callable[[Any], Any]] | None:  # noqa: PLR0911 - one per read
    """Return the command, the arguments, and the reply converter of a read; None if the read needs no command."""
    match read:
        case Top(_, n, least, most):
            low, high = "-inf" if least is None else least, "+inf" if most is None else most
            words = (high, low, "WITHSCORES", "LIMIT", 0, n)
            return "ZREVRANGEBYSCORE", words, lambda reply: [(name.decode(), _score(at)) for name, at in _pairs(reply)]
        case Scores(_, members):
            return ("ZMSCORE", members, _scores) if members else None
        case Card():
            return "ZCARD", (), int
        case Fields(_, names):
            return ("HMGET", names, list) if names else None
        case Whole():
            return "HGETALL", (), lambda reply: {name.decode(): value for name, value in _pairs(reply)}
        case Between(_, prefix, n):
            words = (f"[{prefix}", f"({prefix}\U0010ffff", "LIMIT", 0, n)
            return "ZRANGEBYLEX", words, lambda reply: [member.decode() for member in reply]
        case Members(_, n):
            return "ZRANGE", (0, n - 1), list
        case _:
            assert_never(read)


def _score(text: bytes) -> float:
    score = float(text)
    number(score)
    return score


def _scores(reply: Sequence[bytes | None]) -> list[float | None]:
    return [None if score is None else _score(score) for score in reply]


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
