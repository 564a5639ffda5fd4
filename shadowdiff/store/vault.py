"""Bytes as they rest in the store: compressed where that pays, and encrypted where a key is configured.

Layout: one byte that says how; where a learned dictionary leaves out what many payloads share, its id (4 bytes); then
the payload. What is kept apart from the dictionary follows the payload, whose length (4 bytes) then comes first.
Encryption is AES-256-GCM with the name that a value lies under as associated data, so that a value moved under another
name does not open. Source: NIST SP 800-38D.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shadowdiff.store.dictionary import ID_BYTES, Dictionary, bounded

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN: Final = 0
ZSTD: Final = 1
SEALED: Final = 2
LEARNED: Final = 4
APART: Final = 8
COMPRESS_FROM_BYTES: Final = 512
# Level -1 takes 4 us for 2 KB and leaves 33 %, level 1 takes 7 us and leaves 27 %.
ZSTD_LEVEL: Final = -1
NONCE_BYTES: Final = 12
MAX_OPENED_BYTES: Final = 64 << 20


_HEAD_BYTES: Final = 1 + ID_BYTES
_LENGTH_BYTES: Final = 4


class UnopenableError(Exception):
    """A stored value that cannot be read back: another key, or damaged."""


def dictionary_of(stored: bytes) -> bytes | None:
    """Return the id of the dictionary that a stored form needs, or None."""
    return stored[1:_HEAD_BYTES] if stored and stored[0] & LEARNED else None


class Vault:
    """Closes and opens values under one key (32 bytes), or in clear without one.

    find: returns the dictionary of an id, or None where it is not known.  most_bytes: of one part of a value.
    """

    def __init__(
        self,
        key: bytes | None = None,
        find: Callable[[bytes], Dictionary | None] = lambda _id: None,
        most_bytes: int = MAX_OPENED_BYTES,
    ) -> None:
        self._find = find
        self._most_bytes = most_bytes
        self._compress = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
        self._decompressor = zstandard.ZstdDecompressor()
        self._cipher = AESGCM(key) if key else None

    def close(self, payload: bytes, name: bytes, dictionary: Dictionary | None = None, apart: bytes = b"") -> bytes:
        """Return the stored form of a payload that will lie under `name`.

        apart: what belongs to it and is too long to gain by the dictionary, without which there is none.
        """
        how = PLAIN
        if dictionary is not None:
            payload, how = dictionary.compress(payload), LEARNED
            if apart:
                payload, how = (
                    b"".join((len(payload).to_bytes(_LENGTH_BYTES), payload, self._compress(apart))),
                    how | APART,
                )
        elif len(payload) >= COMPRESS_FROM_BYTES:
            payload, how = self._compress(payload), ZSTD
        if self._cipher is not None:
            nonce = os.urandom(NONCE_BYTES)
            payload, how = nonce + self._cipher.encrypt(nonce, payload, name), how | SEALED
        if dictionary is not None:
            return bytes((how,)) + dictionary.id + payload
        return bytes((how,)) + payload

    def open(self, stored: bytes, name: bytes) -> bytes:
        """Return the payload. Raises: UnopenableError."""
        return self.open_both(stored, name)[0]

    def open_both(self, stored: bytes, name: bytes) -> tuple[bytes, bytes]:
        """Return the payload, and what was kept apart from it. Raises: UnopenableError."""
        if not stored:
            raise UnopenableError("it is empty")
        how = stored[0]
        payload = stored[_HEAD_BYTES if how & LEARNED else 1 :]
        try:
            if how & SEALED:
                if self._cipher is None:
                    raise UnopenableError("it is encrypted and no buffer key is configured (store.key)")
                payload = self._cipher.decrypt(payload[:NONCE_BYTES], payload[NONCE_BYTES:], name)
            if how & LEARNED:
                return self._expand(stored[1:_HEAD_BYTES], payload, is_apart=bool(how & APART))
            return (self._plainly(payload) if how & ZSTD else payload), b""
        except InvalidTag as error:
            raise UnopenableError("it was encrypted under another buffer key, or is damaged") from error
        except (zstandard.ZstdError, ValueError) as error:
            raise UnopenableError(f"it is damaged: {error}") from error

    def _expand(self, dictionary_id: bytes, payload: bytes, *, is_apart: bool) -> tuple[bytes, bytes]:
        dictionary = self._find(dictionary_id)
        if dictionary is None:
            raise UnopenableError(f"its dictionary {dictionary_id.hex()} is not in the store")
        if not is_apart:
            return dictionary.expand(payload, self._most_bytes), b""
        end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES])
        return dictionary.expand(payload[_LENGTH_BYTES:end], self._most_bytes), self._plainly(payload[end:])

    def _plainly(self, payload: bytes) -> bytes:
        return bounded(self._decompressor.decompress, payload, self._most_bytes)
