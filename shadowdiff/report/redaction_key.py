"""The key of what stands for secrets: the same in every process of a service, and after a restart.

In: the store's own key, or the store.  Out: 32 bytes.
Holds: where a store has a key, that of redaction follows from it and lies nowhere. Where it has none, the first
process puts one into the store, and all take that: equal secrets are equal whichever process saw them. It lies beside
what waits there in clear anyway, so that whoever may read the store learns nothing by it.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from shadowdiff.store import reading

if TYPE_CHECKING:
    from shadowdiff.store import Store

KEY_BYTES: Final = 32
_NAME: Final = "redaction:key"


def redaction_key(secret: bytes) -> bytes:
    """Return the key that follows from a secret."""
    return hashlib.blake2b(b"redaction", key=secret, digest_size=KEY_BYTES).digest()


async def shared_key(store: Store) -> bytes:
    """Return the key that all processes of a store share; the first makes it. Raises: redis.exceptions.RedisError."""
    held = await store.once(_NAME, os.urandom(KEY_BYTES))
    with reading(_NAME):
        if len(held) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, and this has {len(held)}")
    return redaction_key(held)
