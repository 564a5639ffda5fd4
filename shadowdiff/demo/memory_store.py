"""Serve with a store in this process's memory, for a demo on a machine without Redis.

`python -m shadowdiff.demo.memory_store --config FILE` works like `shadowdiff serve`, but in a single process. Other
processes cannot reach the store, and its data is lost at exit. Streams, groups and Lua scripts work. `cjson` is the
only Redis library for Lua. A script that sets a Lua global breaks the store for all later scripts.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click
import fakeredis

from shadowdiff.config import load_config
from shadowdiff.service import run
from shadowdiff.service.open_store import StoreHandle
from shadowdiff.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redis.asyncio import Redis

    from shadowdiff.config import Config


def memory_client(server: fakeredis.FakeServer | None = None) -> Redis:
    """Return a client of a store in memory. Clients of the same server share their data."""
    return fakeredis.FakeAsyncRedis(server=server or fakeredis.FakeServer(server_type="redis", version=(7,)))


@asynccontextmanager
async def open_memory_store(config: Config) -> AsyncGenerator[StoreHandle]:
    """Yield a store in memory."""
    store = Store(memory_client(), config.store.prefix, config.store.shards)
    try:
        yield StoreHandle(store, "fakeredis", version("fakeredis"), durable=False, key=None)
    finally:
        await store.close()


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True)
@click.option("--workers", type=click.IntRange(1), default=1)
def main(path: Path, workers: int) -> None:
    """Serve until terminated."""
    if workers > 1:
        raise click.UsageError("the store is in memory: several workers need a Redis (install redis-server)")
    run(load_config(path, os.environ), load=lambda: load_config(path, os.environ), open_store=open_memory_store)


if __name__ == "__main__":
    main()
