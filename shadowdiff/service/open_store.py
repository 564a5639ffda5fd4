"""Open the configured store, or an embedded store."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.store import Store, connect, open_client
from shadowdiff.store.embedded_redis import start_embedded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from shadowdiff.config import Config, StoreConfig
    from shadowdiff.store.connections import Client


class EmbeddedAddress(msgspec.Struct, frozen=True):
    """The embedded store that the supervisor runs."""

    url: str
    backend: str
    version: str
    key: bytes | None

    def __repr__(self) -> str:
        return f"EmbeddedAddress({self.url!r}, {self.backend!r}, {self.version!r})"


@dataclass(frozen=True, slots=True)
class StoreHandle:
    """An open store, its kind, and the key that encrypts its observations."""

    store: Store
    backend: str
    version: str
    durable: bool
    key: bytes | None = field(repr=False)


def _client(url: str, settings: StoreConfig) -> Client:
    login = {
        "username": settings.username,
        "password": settings.password and settings.password.reveal().decode(),
        "ssl_ca_certs": settings.ca,
        "ssl_certfile": settings.cert,
        "ssl_keyfile": settings.cert_key,
    }
    sentinel_login = {
        "username": settings.sentinel_username,
        "password": settings.sentinel_password and settings.sentinel_password.reveal().decode(),
        "ssl": settings.sentinel_tls,
    }
    logins = ({name: value for name, value in one.items() if value is not None} for one in (login, sentinel_login))
    return open_client(url, *logins)


@asynccontextmanager
async def open_configured_store(
    config: Config, processes: int = 1, shared: EmbeddedAddress | None = None
) -> AsyncGenerator[StoreHandle]:
    """Yield the store of `config` for one of `processes`; start and stop an embedded store.

    shared: the supervisor's embedded store; if it is set, use it.  Raises: EmbeddedStoreError.
    """
    settings = config.store
    key = settings.key.reveal() if settings.key else None
    async with AsyncExitStack() as stack:
        if settings.url is not None:
            client, backend, version = _client(settings.url, settings), "redis", ""
        else:
            embedded = shared or await stack.enter_async_context(await start_embedded(settings.data_dir))
            client, backend, version = connect(embedded.url), embedded.backend, embedded.version
            key = key or embedded.key
        store = Store(client, settings.prefix, settings.shards, key, processes)
        stack.push_async_callback(store.close)
        yield StoreHandle(store, backend, version, durable=True, key=key)
