"""The interface to read the data that the writes of `model` stored. The store implements this, and the stages use it.

Keys are relative, as in the writes. Values of all shards are merged, except in `read`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Top(msgspec.Struct, frozen=True, gc=False):
    """Up to `n` members of a sorted set with scores from `least` to `most`, greatest first.

    Returns: list[tuple[str, float]].
    """

    key: str
    n: int
    least: int | None = None
    most: int | None = None


class Scores(msgspec.Struct, frozen=True, gc=False):
    """The scores of the given members of a sorted set. Returns: list[float | None]."""

    key: str
    members: Sequence[str]


class Card(msgspec.Struct, frozen=True, gc=False):
    """The number of members of a sorted set. Returns: int."""

    key: str


class Fields(msgspec.Struct, frozen=True, gc=False):
    """The given fields of a hash. Returns: list[bytes | None]."""

    key: str
    names: Sequence[str]


class Whole(msgspec.Struct, frozen=True, gc=False):
    """All fields of a hash. Returns: dict[str, bytes]."""

    key: str


class Between(msgspec.Struct, frozen=True, gc=False):
    """Up to `n` members that begin with `prefix`, in a sorted set with equal scores. Returns: list[str]."""

    key: str
    prefix: str
    n: int


class Members(msgspec.Struct, frozen=True, gc=False):
    """Up to `n` members of a sorted set, lowest score first. Returns: list[bytes]."""

    key: str
    n: int


Read = Top | Scores | Card | Fields | Whole | Between | Members


class StoreReader(Protocol):
    """Reads the store without changing it."""

    async def counts(self, key: str) -> dict[str, int]:
        """Return a hash of counts, summed over shards; empty if the key is missing."""
        ...

    async def counts_of(self, keys: Sequence[str]) -> list[dict[str, int]]:
        """Return several hashes of counts in the order of their keys, summed over shards. Sends few calls."""
        ...

    async def newest(self, key: str, n: int) -> list[bytes]:
        """Return up to `n` values of a list from all shards, newest first. Values must start with a sortable time."""
        ...

    async def value(self, key: str) -> bytes | None:
        """Return the string at a key, from the shard that has it."""
        ...

    async def read(self, reads: Sequence[Read]) -> list[list[Any]]:
        """Return for each shard the results of `reads`, in the order of `reads`. This sends one call per shard."""
        ...

    def decode_value(self, stored: bytes, name: bytes) -> bytes | None:
        """Return the decrypted content of a value stored under `name`; None if decryption fails."""
        ...
