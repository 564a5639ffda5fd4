"""What people say of fingerprints: a state each, and a note, with who said it and when.

In: a target, a fingerprint's id, a state or a text.  Out: values in two hashes of the first shard.
Holds: what was called fixed and came back is open again, from the moment when it did: whoever calls it fixed takes
away the time since which it is known, and the next mismatch puts one there. Notes are redacted before they are kept.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from shadowdiff.report.fingerprint import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowdiff.store import Store

NOTE_CHARS: Final = 2000
AUTHOR_CHARS: Final = 200


class State(StrEnum):
    """What people make of a fingerprint."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    EXPECTED = "expected"
    FIXED = "fixed"


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """A state, who set it, and when."""

    state: State
    author: str
    at_ms: int


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A text, who wrote it, and when."""

    text: str
    author: str
    at_ms: int


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of one fingerprint."""

    stated: Stated | None = None
    note: Note | None = None

    def state(self, since_ms: int | None) -> tuple[State, int | None]:
        """Return the state that holds, and when it reopened; `since_ms`: since when it is known, or known again."""
        if self.stated is None:
            return State.OPEN, None
        if self.stated.state is State.FIXED and since_ms is not None:
            return State.OPEN, since_ms
        return self.stated.state, None


SILENT: Final = Remark()
_Said = TypeVar("_Said", Stated, Note)


def states_key(target: str) -> str:
    """Return the key of a target's states."""
    return key_of("states", target)


def notes_key(target: str) -> str:
    """Return the key of a target's notes."""
    return key_of("notes", target)


def remarks_of(states: Mapping[str, bytes], notes: Mapping[str, bytes]) -> dict[str, Remark]:
    """Return what was said of each fingerprint; what an older version wrote and cannot be read is left out."""
    stated, noted = _read(states, Stated), _read(notes, Note)
    return {name: Remark(stated=stated.get(name), note=noted.get(name)) for name in stated.keys() | noted.keys()}


def _read(fields: Mapping[str, bytes], shape: type[_Said]) -> dict[str, _Said]:
    found: dict[str, _Said] = {}
    for name, value in fields.items():
        try:
            found[name] = msgspec.json.decode(value, type=shape)
        except (msgspec.DecodeError, RecursionError):
            continue
    return found


class Remarks:
    """Writes states and notes."""

    def __init__(self, store: Store, now_ms: Callable[[], int], redact: Callable[[str], str]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._redact = redact

    async def set_state(self, target: str, one: str, state: State, author: str) -> Stated:
        """Set the state of a fingerprint; raises redis.exceptions.RedisError."""
        stated = Stated(state=state, author=author[:AUTHOR_CHARS], at_ms=self._now_ms())
        if state is State.FIXED:
            for shard in range(self._store.shards):
                await self._store.command("ZREM", self._store.keys.name(shard, key_of("since", target)), one)
        await self._put(states_key(target), one, stated)
        return stated

    async def set_note(self, target: str, one: str, text: str, author: str) -> Note | None:
        """Set the note of a fingerprint, or take it away with an empty one; raises redis.exceptions.RedisError."""
        if not text.strip():
            await self._store.command("HDEL", self._store.keys.name(0, notes_key(target)), one)
            return None
        note = Note(text=self._redact(text.strip())[:NOTE_CHARS], author=author[:AUTHOR_CHARS], at_ms=self._now_ms())
        await self._put(notes_key(target), one, note)
        return note

    async def _put(self, key: str, one: str, said: Stated | Note) -> None:
        await self._store.command("HSET", self._store.keys.name(0, key), one, msgspec.json.encode(said))
