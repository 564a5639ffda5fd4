"""The data folder of an embedded store: the owner's lock, the key, and a note about the running server.

The lock is an flock on a file that child processes do not inherit, so the owner's death always releases it. Files are
written under a temporary name and then renamed, so after a crash either the old or the new file is complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_BYTES: Final = 32
_OWN_FOLDER: Final = 0o700
_OWN_FILE: Final = 0o600


class EmbeddedStoreError(Exception):
    """The embedded store cannot start or continue to run; the message names the cause and the fix."""


class ServerNote(msgspec.Struct, frozen=True):
    """The note that the owner of a data folder writes about its server for the next owner.

    started: the process's start in clock ticks (`/proc/PID/stat`, field 22), which distinguishes it from a later
    process with the same id; -1 if unknown.
    run_folder: the folder of its socket; only this run uses it.
    """

    pid: int
    started: int
    run_folder: str
    family: str
    version: tuple[int, int, int]


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return the state folder: under `$XDG_STATE_HOME`, `~/.local/state`, or privately in the temporary folder.

    An arbitrary UID in a container has no home directory, or has `/`, which is not writable.
    """
    home = environ.get("HOME", "")
    if not home:
        with suppress(RuntimeError):
            home = str(Path.home())
    bases = (Path(environ.get("XDG_STATE_HOME", "")), Path(home) / ".local" / "state")
    base = next((base for base in bases if base.is_absolute() and _is_creatable(base)), None)
    return base / "shadowdiff" if base else Path(tempfile.gettempdir()) / f"shadowdiff-state-{os.getuid()}"


def _is_creatable(folder: Path) -> bool:
    """Whether this user can write to the nearest ancestor of `folder` that exists."""
    try:
        while not folder.exists():
            folder = folder.parent
    except OSError:
        return False
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


@dataclass(slots=True)
class DataFolder:
    """A data folder that this process has locked."""

    path: Path
    _lock: int

    @classmethod
    def take(cls, path: Path) -> DataFolder:
        """Create and lock the folder. Raises: EmbeddedStoreError if it is not writable, locked, or another user's."""
        path = path.absolute()
        try:
            path.mkdir(mode=_OWN_FOLDER, parents=True, exist_ok=True)
            (path / "redis").mkdir(mode=_OWN_FOLDER, exist_ok=True)
            _check_owner(path)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _OWN_FILE)
        except OSError as error:
            message = f"data folder {path}: {error.strerror}; name a folder that uid {os.getuid()} can write to"
            raise EmbeddedStoreError(message) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise EmbeddedStoreError(_lock_error(path, error, owner)) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return cls(path, lock)

    @property
    def redis(self) -> Path:
        """The folder of the server's append-only files, without any other files."""
        return self.path / "redis"

    def release(self) -> None:
        """Unlock the folder, so that another process can use it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def key(self) -> bytes:
        """Return the key that encrypts this folder's buffer; create it if it is missing.

        Raises: EmbeddedStoreError if the key file has no valid key, because a new key cannot decrypt the stored data.
        """
        file = self.path / "key"
        if not file.exists():
            _write_atomically(file, secrets.token_bytes(KEY_BYTES))
        with suppress(PermissionError):
            file.chmod(_OWN_FILE)
        key = file.read_bytes()
        if len(key) != KEY_BYTES:
            raise EmbeddedStoreError(
                f"{file} has {len(key)} bytes, but a key has {KEY_BYTES}: restore the right file, "
                f"or remove it together with {self.redis} to start with an empty store"
            )
        return key

    def note(self) -> ServerNote | None:
        """Return the last owner's note, or None if it cannot be read."""
        try:
            return msgspec.json.decode((self.path / "server.json").read_bytes(), type=ServerNote)
        except (OSError, msgspec.MsgspecError):
            return None

    def write_note(self, note: ServerNote) -> None:
        """Write a note about the server that now runs."""
        _write_atomically(self.path / "server.json", msgspec.json.encode(note))

    def remove_leftovers(self) -> None:
        """Remove temporary files of a server that died during a rewrite. Call this only while no server runs."""
        for folder in (self.redis, self.redis / "appendonlydir"):
            for leftover in folder.glob("temp-*"):
                if leftover.suffix in {".aof", ".rdb"} or leftover.name.startswith("temp-appendonly"):
                    leftover.unlink(missing_ok=True)


def _check_owner(path: Path) -> None:
    """Reject a folder that another user created in a place where everyone can write, such as /tmp."""
    status = path.stat()
    if status.st_uid == os.getuid():
        path.chmod(_OWN_FOLDER)
    elif stat.S_IMODE(status.st_mode) & stat.S_ISVTX:
        raise PermissionError(errno.EPERM, f"the folder belongs to uid {status.st_uid}", str(path))


def _lock_error(path: Path, error: OSError, owner: str) -> str:
    if error.errno not in {errno.EACCES, errno.EAGAIN}:
        return f"data folder {path}: cannot lock it: {error.strerror}; name a folder on a local disk"
    holder = f"another shadowdiff (pid {owner})" if owner else "another shadowdiff"
    return f"data folder {path} is held by {holder}: stop it, name another folder, or set store.url to share one Redis"


def _write_atomically(file: Path, content: bytes) -> None:
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWN_FILE)
    with os.fdopen(handle, "wb") as output:
        output.write(content)
        output.flush()
        os.fsync(output.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
