"""Names in Redis: one prefix, and one hash tag per shard.

In: relative names (`ledger:orders`). Out: `sd:{3}:ledger:orders`. All keys of one pair carry the tag of
its shard, so that they share a cluster slot and one script can touch them all. Tags are chosen so that the shards cut
the slots into equal parts: masters with equal ranges of slots hold equally many shards, but for one or two.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOTS: Final = 16_384


def slot_of(tag: int) -> int:
    """Return the cluster slot of a hash tag. Source: Redis Cluster specification, key distribution model."""
    return crc_hqx(str(tag).encode(), 0) % SLOTS


def tags(shards: int) -> list[int]:
    """Return each shard's hash tag; the first shard's is 0, however many there are."""
    of_part: dict[int, int] = {}
    tag = 0
    while len(of_part) < shards:
        of_part.setdefault(slot_of(tag) * shards // SLOTS, tag)
        tag += 1
    first = slot_of(0) * shards // SLOTS
    return [of_part[(first + shard) % shards] for shard in range(shards)]


class Keys:
    """The key space of one store; its shard count is fixed for the store's life."""

    __slots__ = ("_heads", "prefix", "shards")

    def __init__(self, prefix: str, shards: int) -> None:
        self.prefix = prefix
        self.shards = shards
        self._heads = [f"{prefix}:{{{tag}}}:".encode() for tag in tags(shards)]

    def name(self, shard: int, relative: str | bytes) -> bytes:
        """Return the full name of `relative` in `shard`."""
        return self._heads[shard] + (relative if isinstance(relative, bytes) else relative.encode())

    def shard_of(self, digest: bytes) -> int:
        """Return the shard of a 16-byte key; evenly spread, since the key is a hash."""
        return 0 if self.shards == 1 else int.from_bytes(digest[:4]) % self.shards
