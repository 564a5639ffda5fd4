"""Key names in Redis: a prefix, and one hash tag per shard, such as `sd:{3}:ledger:orders`.

All keys of one pair have the tag of its shard. So they are in the same cluster slot, and one script can use them all.
The tags divide the slots evenly: if all masters have equal slot ranges, their shard counts differ by at most two.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

SLOTS: Final = 16_384


def slot_of(tag: int) -> int:
    """Return the cluster slot of a hash tag. Source: Redis Cluster specification, key distribution model."""
    return crc_hqx(str(tag).encode(), 0) % SLOTS


def tags(shards: int) -> list[int]:
    """Return the hash tag of each shard. The tag of the first shard is always 0."""
    tag_of_part: dict[int, int] = {}
    tag = 0
    while len(tag_of_part) < shards:
        tag_of_part.setdefault(slot_of(tag) * shards // SLOTS, tag)
        tag += 1
    first = slot_of(0) * shards // SLOTS
    return [tag_of_part[(first + shard) % shards] for shard in range(shards)]


class Keys:
    """The key names of one store. A store never changes its number of shards."""

    __slots__ = ("_heads", "prefix", "shards")

    def __init__(self, prefix: str, shards: int) -> None:
        self.prefix = prefix
        self.shards = shards
        self._heads = [f"{prefix}:{{{tag}}}:".encode() for tag in tags(shards)]

    def name(self, shard: int, relative: str | bytes) -> bytes:
        """Return the full name of the key `relative` in `shard`."""
        return self._heads[shard] + (relative if isinstance(relative, bytes) else relative.encode())

    def shard_of(self, digest: bytes) -> int:
        """Return the shard of a 16-byte key. The key is a hash, so keys spread evenly."""
        return 0 if self.shards == 1 else int.from_bytes(digest[:4]) % self.shards
