"""Triage of fingerprints and causes: a state and a note, each with its author and time.

The next mismatch reopens a fixed fingerprint: the change to fixed deletes the time of its first mismatch, and the next
mismatch sets this time again. Notes are redacted before they are stored.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from shadowdiff.report.cause_writes import history_key
from shadowdiff.report.fingerprint import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowdiff.store import Store

NOTE_CHARS: Final = 2000
AUTHOR_CHARS: Final = 200


class State(StrEnum):
    """The triage state of a fingerprint."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    EXPECTED = "expected"
    FIXED = "fixed"


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """A state, its author and its time."""

    state: State
    author: str
    at_ms: int


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A note, its author and its time."""

    text: str
    author: str
    at_ms: int


class Triage(msgspec.Struct, frozen=True, kw_only=True):
    """The triage of one fingerprint."""

    stated: StateChange | None = None
    note: Note | None = None

    def state(self, since_ms: int | None) -> tuple[State, int | None]:
        """Return the current state, and when it was reopened. since_ms: when it was first seen, or seen again."""
        if self.stated is None:
            return State.OPEN, None
        if self.stated.state is State.FIXED and since_ms is not None:
            return State.OPEN, since_ms
        return self.stated.state, None


NO_TRIAGE: Final = Triage()
_Value = TypeVar("_Value", StateChange, Note)


def read_triage(states: Mapping[str, bytes], notes: Mapping[str, bytes]) -> dict[str, Triage]:
    """Return the triage of each fingerprint; skip unreadable values from other versions."""
    stated, noted = _read(states, StateChange), _read(notes, Note)
    return {name: Triage(stated=stated.get(name), note=noted.get(name)) for name in stated.keys() | noted.keys()}


def _read(fields: Mapping[str, bytes], shape: type[_Value]) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    for name, value in fields.items():
        with suppress(msgspec.DecodeError, RecursionError):
            found[name] = msgspec.json.decode(value, type=shape)
    return found


class TriageWriter:
    """Writes states and notes."""

    def __init__(self, store: Store, now_ms: Callable[[], int], redact: Callable[[str], str]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._redact = redact

    async def set_state(self, target: str, one: str, state: State, author: str) -> StateChange:
        """Set the state of a fingerprint. Raises: redis.exceptions.RedisError."""
        stated = StateChange(state=state, author=author[:AUTHOR_CHARS], at_ms=self._now_ms())
        if state is State.FIXED:
            for shard in range(self._store.shards):
                await self._store.command("ZREM", self._store.keys.name(shard, key_of("since", target)), one)
        await self._put(key_of("states", target), one, stated)
        return stated

    async def set_note(self, target: str, one: str, text: str, author: str) -> Note | None:
        """Set the note of a fingerprint; an empty text deletes it. Raises: redis.exceptions.RedisError."""
        return await self._set_note(key_of("notes", target), one, text, author)

    async def _set_note(self, key: str, one: str, text: str, author: str) -> Note | None:
        if not text.strip():
            await self._store.command("HDEL", self._store.keys.name(0, key), one)
            return None
        note = Note(text=self._redact(text.strip())[:NOTE_CHARS], author=author[:AUTHOR_CHARS], at_ms=self._now_ms())
        await self._put(key, one, note)
        return note

    async def set_cause_state(self, target: str, one: str, state: State, author: str) -> StateChange:
        """Set the state of a cause. Raises: redis.exceptions.RedisError."""
        stated = StateChange(state=state, author=author[:AUTHOR_CHARS], at_ms=self._now_ms())
        await self._put(history_key(target, "states"), one, stated)
        return stated

    async def set_cause_note(self, target: str, one: str, text: str, author: str) -> Note | None:
        """Set the note of a cause; an empty text deletes it. Raises: redis.exceptions.RedisError."""
        return await self._set_note(history_key(target, "notes"), one, text, author)

    async def _put(self, key: str, one: str, value: StateChange | Note) -> None:
        await self._store.command("HSET", self._store.keys.name(0, key), one, msgspec.json.encode(value))
