"""The embedded store's data folder: whose it is, its key, and what a crashed owner left in it.

In: a path, or none.  Out: a folder held by this process alone, the buffer key, the note of the last server.
Holds: the lock is an flock on a file that no child inherits, so that the owner's death frees it however it
came; every file that matters is written beside its name and renamed, so that a crash leaves the old or the
new one and never half of one.
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
    from collections.abc import Iterator, Mapping

KEY_BYTES: Final = 32
_OWN_FOLDER: Final = 0o700
_OWN_FILE: Final = 0o600


class EmbeddedStoreError(Exception):
    """The embedded store cannot start or go on; the message names what, and the way out."""


class ServerNote(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner writes down of its server, for the next owner to find.

    started: the process's start in clock ticks (`/proc/PID/stat`, field 22), so that a reused pid is not
        mistaken for it; -1 where the system does not say.
    run_folder: the folder of its socket, made for this one run.
    """

    pid: int
    started: int
    run_folder: str
    family: str
    version: tuple[int, int, int]


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return where state belongs: `$XDG_STATE_HOME`, `~/.local/state`, else a private folder under the temp one.

    An arbitrary UID has no home, or `/` for one, which it cannot write to.
    """
    for base in _state_bases(environ):
        if _creatable(base):
            return base / "shadowdiff"
    return Path(tempfile.gettempdir()) / f"shadowdiff-state-{os.getuid()}"


def _state_bases(environ: Mapping[str, str]) -> Iterator[Path]:
    named = environ.get("XDG_STATE_HOME", "")
    if named.startswith("/"):
        yield Path(named)
    home = environ.get("HOME", "")
    if not home:
        with suppress(RuntimeError):
            home = str(Path.home())
    if home.startswith("/"):
        yield Path(home) / ".local" / "state"


def _creatable(folder: Path) -> bool:
    """Whether this user could make `folder`: its nearest ancestor that exists is a folder and lets it."""
    there = folder
    try:
        while not there.exists():
            there = there.parent
    except OSError:
        return False
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


@dataclass(slots=True)
class DataFolder:
    """A data folder that this process holds."""

    path: Path
    _lock: int

    @classmethod
    def take(cls, path: Path) -> DataFolder:
        """Make the folder where it is missing, and hold it.

        Raises: EmbeddedStoreError where it cannot be written, belongs to someone else, or is held.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=_OWN_FOLDER, parents=True, exist_ok=True)
            (path / "redis").mkdir(mode=_OWN_FOLDER, exist_ok=True)
            _refuse_strangers(path)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _OWN_FILE)
        except OSError as error:
            message = (
                f"data folder {path}: {error.strerror}; name a folder that this user (uid {os.getuid()}) can write to"
            )
            raise EmbeddedStoreError(message) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise EmbeddedStoreError(_why_not_locked(path, error, owner)) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return cls(path, lock)

    @property
    def redis(self) -> Path:
        """Where the server keeps its append-only files, and nothing else lies."""
        return self.path / "redis"

    def release(self) -> None:
        """Let another process take the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def key(self) -> bytes:
        """Return the key of this folder's buffer: the one made earlier, or a new one.

        Raises: EmbeddedStoreError where the file is not a key; what the folder holds could not be read then.
        """
        place = self.path / "key"
        if not place.exists():
            _write_whole(place, secrets.token_bytes(KEY_BYTES))
        with suppress(PermissionError):
            place.chmod(_OWN_FILE)
        key = place.read_bytes()
        if len(key) != KEY_BYTES:
            message = (
                f"{place} has {len(key)} bytes, and a key has {KEY_BYTES}: put the right file back, "
                f"or remove it together with {self.redis} to begin with an empty store"
            )
            raise EmbeddedStoreError(message)
        return key

    def note(self) -> ServerNote | None:
        """Return what the last owner noted; None where there is nothing, or nothing readable."""
        try:
            return msgspec.json.decode((self.path / "server.json").read_bytes(), type=ServerNote)
        except (OSError, msgspec.MsgspecError):
            return None

    def write_note(self, note: ServerNote) -> None:
        """Note the server that now runs."""
        _write_whole(self.path / "server.json", msgspec.json.encode(note))

    def sweep(self) -> None:
        """Remove what a server that died in the middle of a rewrite leaves. Only while none runs."""
        for folder in (self.redis, self.redis / "appendonlydir"):
            for leftover in folder.glob("temp-*"):
                if leftover.suffix in {".aof", ".rdb"} or leftover.name.startswith("temp-appendonly"):
                    leftover.unlink(missing_ok=True)

    def multi_part(self) -> bool:
        """Whether a server of 7.0 or later wrote here: one before it would see an empty store."""
        return (self.redis / "appendonlydir").is_dir()


def _refuse_strangers(path: Path) -> None:
    """Refuse a folder that another user owns and everyone can reach, such as one laid ready under /tmp."""
    about = path.stat()
    if about.st_uid == os.getuid():
        path.chmod(_OWN_FOLDER)
    elif stat.S_IMODE(about.st_mode) & stat.S_ISVTX:
        raise PermissionError(errno.EPERM, f"it belongs to uid {about.st_uid}", str(path))


def _why_not_locked(path: Path, error: OSError, owner: str) -> str:
    if error.errno not in {errno.EACCES, errno.EAGAIN}:
        return f"data folder {path}: its lock cannot be taken: {error.strerror}; name a folder on a local disk"
    holder = f"another shadowdiff (pid {owner})" if owner else "another shadowdiff"
    return f"data folder {path} is held by {holder}: stop it, name another folder, or give both one Redis by its URL"


def _write_whole(place: Path, content: bytes) -> None:
    """Write beside the name, sync, rename: a crash leaves the old file or the new one."""
    beside = place.with_name(place.name + ".new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWN_FILE)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(place)
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
