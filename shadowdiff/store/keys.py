"""Names in Redis: one prefix, and one hash tag per shard.

In: relative names (`ledger:orders`). Out: `sd:{3}:ledger:orders`. All keys of one pair carry the tag of
its shard, so that they share a cluster slot and one script can touch them all.
"""

from __future__ import annotations


class Keys:
    """The key space of one store; its shard count is fixed for the store's life."""

    __slots__ = ("_heads", "prefix", "shards")

    def __init__(self, prefix: str, shards: int) -> None:
        self.prefix = prefix
        self.shards = shards
        self._heads = [f"{prefix}:{{{shard}}}:".encode() for shard in range(shards)]

    def name(self, shard: int, relative: str | bytes) -> bytes:
        """Return the full name of `relative` in `shard`."""
        return self._heads[shard] + (relative if isinstance(relative, bytes) else relative.encode())

    def shard_of(self, digest: bytes) -> int:
        """Return the shard of a 16-byte key; evenly spread, since the key is a hash."""
        return 0 if self.shards == 1 else int.from_bytes(digest[:4]) % self.shards
