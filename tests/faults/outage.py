"""Make Redis fail and recover: Redis rejects connections, hangs, is killed, is full or is slow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from redis import Redis

from tests.integration.service.redis_link import pass_on

if TYPE_CHECKING:
    from tests.integration.service.own_redis import OwnRedis
    from tests.integration.service.redis_link import Ask, RedisLink, Words

SLOW_S = 0.1
How = Literal["refuses", "hangs", "is killed", "is full", "is slow"]


async def slow(_words: Words, ask: Ask) -> bytes | None:
    """Delay a call, then pass the call to Redis."""
    await asyncio.sleep(SLOW_S)
    return await ask()


def give_room(redis: OwnRedis, more_bytes: int | None) -> None:
    """Limit Redis' memory to this number of bytes above its current use; None removes the limit."""
    client: Any = Redis(port=redis.port)
    with client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 0 if more_bytes is None else used + more_bytes)


@dataclass
class Outage:
    """One of these failures."""

    how: How
    link: RedisLink
    redis: OwnRedis

    async def begin(self) -> None:
        """Begin the failure."""
        match self.how:
            case "refuses":
                await self.link.down()
            case "hangs":
                self.redis.pause()
            case "is killed":
                await asyncio.to_thread(self.redis.kill)
            case "is full":
                await asyncio.to_thread(give_room, self.redis, -1024)
            case "is slow":
                self.link.on_call = slow

    async def end(self) -> None:
        """End the failure without a loss of data."""
        match self.how:
            case "refuses":
                await self.link.up()
            case "hangs":
                self.redis.resume()
            case "is killed":
                await asyncio.to_thread(self.redis.start)
            case "is full":
                await asyncio.to_thread(give_room, self.redis, None)
            case "is slow":
                self.link.on_call = pass_on


async def made_durable(redis: OwnRedis) -> None:
    """Restart an empty Redis that writes to disk before it replies."""
    await asyncio.to_thread(redis.kill)
    redis.durable = True
    await asyncio.to_thread(redis.start)
