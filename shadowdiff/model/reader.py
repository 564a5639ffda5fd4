"""How the stages read back what their writes left in the store.

In: keys relative to the stage, as in `model.write`; reads as data, many in one call.  Out: values merged over all
shards, or (`read`) those of each shard, for whoever knows how to merge them.
Holds: reading changes nothing.  The store implements it; stages receive it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Top(msgspec.Struct, frozen=True, gc=False):
    """Up to `n` members of a sorted set with their scores, greatest first, none above `most` or below `least`.

    Answers: list[tuple[str, float]].
    """

    key: str
    n: int
    least: int | None = None
    most: int | None = None


class Scores(msgspec.Struct, frozen=True, gc=False):
    """The scores of some members of a sorted set. Answers: list[float | None]."""

    key: str
    members: Sequence[str]


class Card(msgspec.Struct, frozen=True, gc=False):
    """How many members a sorted set has. Answers: int."""

    key: str


class Fields(msgspec.Struct, frozen=True, gc=False):
    """Some fields of a hash. Answers: list[bytes | None]."""

    key: str
    names: Sequence[str]


class Whole(msgspec.Struct, frozen=True, gc=False):
    """A whole hash. Answers: dict[str, bytes]."""

    key: str


class Between(msgspec.Struct, frozen=True, gc=False):
    """Up to `n` members, beginning with `prefix`, of a sorted set whose scores are equal. Answers: list[str]."""

    key: str
    prefix: str
    n: int


Read = Top | Scores | Card | Fields | Whole | Between


class StoreReader(Protocol):
    """Reads what the writes of `model.write` wrote."""

    async def counts(self, key: str) -> dict[str, int]:
        """Return a hash of counts, summed over shards; empty where there is none."""
        ...

    async def counts_of(self, keys: Sequence[str]) -> list[dict[str, int]]:
        """Return many hashes of counts in the order of their keys, each summed over shards, in few calls."""
        ...

    async def newest(self, key: str, n: int) -> list[bytes]:
        """Return up to `n` values of a list, newest first over all shards (values begin with a sortable time)."""
        ...

    async def value(self, key: str) -> bytes | None:
        """Return a string from whichever shard holds it."""
        ...

    async def read(self, reads: Sequence[Read]) -> list[list[Any]]:
        """Return for each shard the answers to `reads`, in their order; one call a shard, however many there are."""
        ...

    def opened(self, stored: bytes, name: bytes) -> bytes | None:
        """Return what a value that lies under `name` says; None where it cannot be opened."""
        ...
