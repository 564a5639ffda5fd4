"""Observations as they rest in Redis between arrival and comparison: compact, and closed by the store's vault."""

from __future__ import annotations

import msgspec

from shadowdiff.model import Observation
from shadowdiff.store import UnopenableError, Vault


class UndecodableError(Exception):
    """A stored observation that cannot be read back: another key, or damaged."""


class Codec:
    """Encode and decode observations under one buffer key (32 bytes), or in clear without one."""

    def __init__(self, key: bytes | None = None) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Observation)
        self._vault = Vault(key)

    def encode(self, key: bytes, observation: Observation) -> bytes:
        """Return the stored form of `observation` under the pair's `key`."""
        return self._vault.close(self._encoder.encode(observation), key)

    def decode(self, key: bytes, stored: bytes) -> Observation:
        """Return the observation; raises UndecodableError."""
        try:
            return self._decoder.decode(self._vault.open(stored, key))
        except UnopenableError as error:
            raise UndecodableError(f"a stored observation cannot be opened: {error}") from error
        except (msgspec.MsgspecError, ValueError) as error:
            raise UndecodableError(f"the observation is damaged: {error}") from error
