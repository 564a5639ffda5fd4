"""What is known of each target's noise, in Redis: the frozen set, and what is being learned.

In: a target's name.  Out: `NoiseState`; changes that only the first of several processes makes.
Holds: a frozen set is never changed, only followed by the next version; all of it lies in the first shard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiff.store import Script, number, reading
from shadowdiff.verdict.noise import NoiseSet, Source, choose
from shadowdiff.verdict.triples import learning_key, read_halves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.store import Store

_CHANGE = Script.from_package("shadowdiff.verdict.lua", "noise.lua")


class NoiseState(msgspec.Struct, frozen=True, kw_only=True):
    """One target's noise.

    rev: counts up with every change.  known: the set in force, None before the first.  learning: the generation that
    is being learned, None where none is, and from what.  since_ms: when that began.  by: who asked for it, and why.
    """

    rev: int = 0
    known: NoiseSet | None = None
    learning: int | None = None
    source: Source = Source.CONTROL
    since_ms: int = 0
    generation: int = 0
    by: str = ""

    @property
    def version(self) -> str | None:
        """The version of the set in force, as an epoch names it."""
        return str(self.known.version) if self.known else None


class NoiseStore:
    """The noise of all targets."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, target: str) -> NoiseState:
        """Return what is known; raises redis.exceptions.RedisError."""
        found: Any = await self._store.command("HGETALL", self._store.keys.name(0, _key(target)))
        with reading(f"the noise of {target}"):
            return _state({name.decode(): value for name, value in found.items()})

    async def learn(self, target: str, state: NoiseState, source: Source, now_ms: int, by: str = "") -> bool:
        """Begin to learn; return whether this call began it; raises redis.exceptions.RedisError."""
        generation = state.generation + 1
        return await self._change(
            target, state, learning=generation, generation=generation, source=source, since_ms=now_ms, by=by
        )

    async def learned(self, target: str, state: NoiseState) -> int:
        """Return how many triples were learned from so far; raises redis.exceptions.RedisError."""
        if state.learning is None:
            return 0
        return sum((await self._store.counts(learning_key(target, state.learning, "triples"))).values())

    async def freeze(self, target: str, state: NoiseState, now_ms: int, candidate: str) -> NoiseSet | None:
        """Freeze what was learned as the next version; None where another process did; raises RedisError."""
        if state.learning is None:
            return None
        groups = [learning_key(target, state.learning, group) for group in ("triples", "cells")]
        triples, cells = await self._store.counts_of(groups)
        with reading(f"what was learned of the noise of {target}"):
            halves = read_halves(triples, cells)
        made = choose(
            halves,
            version=state.learning,
            source=state.source,
            now_ms=now_ms,
            candidate=candidate,
        )
        done = await self._change(target, state, learning="", set=msgspec.json.encode(made))
        return made if done else None

    async def forget(self, target: str, state: NoiseState) -> bool:
        """Have no noise set any more; raises redis.exceptions.RedisError."""
        return await self._change(target, state, learning="", set="")

    async def _change(self, target: str, state: NoiseState, **fields: bytes | str | int) -> bool:
        args: list[bytes | str | int] = [str(state.rev) if state.rev else ""]
        for name, value in fields.items():
            args += (name, value)
        return bool(await self._store.run(_CHANGE, 0, [_key(target)], args))


def _key(target: str) -> str:
    return f"noise:{target}"


def _state(fields: Mapping[str, bytes]) -> NoiseState:
    if not fields:
        return NoiseState()
    learning = fields.get("learning", b"")
    return NoiseState(
        rev=number(fields["rev"]),
        known=msgspec.json.decode(fields["set"], type=NoiseSet) if fields.get("set") else None,
        learning=number(learning) if learning else None,
        source=Source(fields.get("source", b"control").decode()),
        since_ms=number(fields.get("since_ms", b"0")),
        generation=number(fields.get("generation", b"0")),
        by=fields.get("by", b"").decode(),
    )
