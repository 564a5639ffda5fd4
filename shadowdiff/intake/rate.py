"""How much one source may do: a bucket of tokens for each, in a table that never grows past its bound.

In: a source (an address) and the time.  Out: whether there is room for one more.
Holds: the source not seen for longest gives way; an IPv6 host owns its /64, and counts as one source. Reads no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

MOST_SOURCES: Final = 4096


class SourceRate:
    """`per_s` of each source on average, `burst` at once."""

    __slots__ = ("_burst", "_kept", "_most", "_per_s")

    def __init__(self, per_s: float, burst: float, most: int = MOST_SOURCES) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def has_room(self, source: str, now_s: float) -> bool:
        """Return whether `take` would let one more through; takes nothing."""
        return self._level(source_of(source), now_s) >= 1.0

    def take(self, source: str, now_s: float, many: int = 1) -> bool:
        """Take so many of the source's share, on credit where less is left; False, and nothing, where none is."""
        name = source_of(source)
        level = self._level(name, now_s)
        room = level >= 1.0
        self._kept[name] = (level - many if room else level, now_s)
        self._kept.move_to_end(name)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return room

    def _level(self, name: str, now_s: float) -> float:
        level, at_s = self._kept.get(name, (self._burst, now_s))
        return min(self._burst, level + max(0.0, now_s - at_s) * self._per_s)


@lru_cache(maxsize=1024)
def source_of(address: str) -> str:
    """Return what an address counts as: itself, the IPv4 address that it maps, or its /64."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return str(found)
