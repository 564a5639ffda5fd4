"""How the stages read back what their writes left in the store.

In: keys relative to the stage, as in `model.write`.  Out: values merged over all shards.
Holds: reading changes nothing.  The store implements it; stages receive it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class StoreReader(Protocol):
    """Reads what `Incr`, `Push` and `Put` wrote."""

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
