"""The store behind the service: the one that the configuration names, or an embedded one."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shadowdiff.store import Credentials, Store, connect, open_client
from shadowdiff.store.embedded import choose_and_start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from shadowdiff.config import Config, StoreConfig
    from shadowdiff.service.control import Embedded

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backing:
    """A store, what it is, and the key of what waits in it."""

    store: Store
    backend: str
    version: str
    durable: bool
    key: bytes | None


def _credentials(settings: StoreConfig) -> Credentials:
    return Credentials(
        username=settings.username,
        password=settings.password.reveal().decode() if settings.password else None,
        ca=settings.ca,
        cert=settings.cert,
        cert_key=settings.cert_key,
        sentinel_username=settings.sentinel_username,
        sentinel_password=settings.sentinel_password.reveal().decode() if settings.sentinel_password else None,
        sentinel_tls=settings.sentinel_tls,
    )


@asynccontextmanager
async def backing_of(settings: StoreConfig, embedded: Embedded, processes: int) -> AsyncGenerator[Backing]:
    """Yield the embedded store that another process runs, for one of so many that share the load."""
    key = settings.key.reveal() if settings.key else embedded.key
    store = Store(connect(embedded.url), settings.prefix, settings.shards, key, processes)
    try:
        yield Backing(store, embedded.backend, embedded.version, durable=True, key=key)
    finally:
        await store.close()


@asynccontextmanager
async def backing(config: Config, processes: int = 1) -> AsyncGenerator[Backing]:
    """Yield the store of `config` for one of so many processes; an embedded one is started and stopped.

    Raises: EmbeddedStoreError.
    """
    settings = config.store
    key = settings.key.reveal() if settings.key else None
    if settings.url is not None:
        store = Store(
            open_client(settings.url, _credentials(settings)), settings.prefix, settings.shards, key, processes
        )
        try:
            yield Backing(store, "redis", "", durable=True, key=key)
        finally:
            await store.close()
        return
    embedded = await choose_and_start(settings.data_dir)
    try:
        client = connect(embedded.url) if embedded.durable else embedded.fake_client()
        key = key or embedded.key
        store = Store(client, settings.prefix, settings.shards, key)
        try:
            yield Backing(store, embedded.backend, embedded.version, embedded.durable, key)
        finally:
            await store.close()
    finally:
        await embedded.stop()
