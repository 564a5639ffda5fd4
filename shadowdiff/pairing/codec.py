"""Observations as they rest in Redis between arrival and comparison: compact, and closed by the store's vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Observation
from shadowdiff.store import MAX_OPENED_BYTES, Dictionary, UnopenableError, Vault, dictionary_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_KNOWN: Final = 64
"""Dictionaries held; the one known for longest gives way."""
EXAMPLES: Final = 300
EXAMPLE_BYTES: Final = 4096
"""Of each body in an example; what bodies share shows at their beginning."""
APART_FROM_BYTES: Final = 8192
"""A body as long repeats itself: with a dictionary it takes half as long again, and leaves no less."""


_HEADS_BYTES: Final = 4 << 20


class UndecodableError(Exception):
    """A stored observation that cannot be read back: another key, or damaged."""


class Codec:
    """Encode and decode observations under one buffer key (32 bytes), or in clear without one.

    current: the dictionary by which observations are encoded, once one is learned.  body_bytes: the most that a body
    has, of two in an observation.
    """

    def __init__(self, key: bytes | None = None, body_bytes: int = 0) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Observation)
        self._known: dict[bytes, Dictionary] = {}
        self._examples: list[bytes] | None = None
        self.vault = Vault(key, self._known.get, max(MAX_OPENED_BYTES, 2 * body_bytes + _HEADS_BYTES))
        self.current: Dictionary | None = None

    def encode(self, key: bytes, observation: Observation) -> bytes:
        """Return the stored form of `observation` under the pair's `key`."""
        if self._examples is not None:
            self._keep_example(self._examples, observation)
        if self.current is not None and len(observation.body) >= APART_FROM_BYTES:
            head = self._encoder.encode(msgspec.structs.replace(observation, body=b""))
            return self.vault.close(head, key, self.current, observation.body)
        return self.vault.close(self._encoder.encode(observation), key, self.current)

    def decode(self, key: bytes, stored: bytes) -> Observation:
        """Return the observation; raises UndecodableError."""
        try:
            payload, body = self.vault.open_both(stored, key)
            observation = self._decoder.decode(payload)
            return msgspec.structs.replace(observation, body=body) if body else observation
        except UnopenableError as error:
            raise UndecodableError(f"a stored observation cannot be opened: {error}") from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UndecodableError(f"the observation is damaged: {error}") from error

    def know(self, dictionary: Dictionary) -> None:
        """Read what was encoded by this dictionary, too."""
        self._known.setdefault(dictionary.id, dictionary)
        if len(self._known) > MOST_KNOWN:
            del self._known[next(one for one, known in self._known.items() if known is not self.current)]

    def known(self, dictionary_id: bytes) -> Dictionary | None:
        """Return a dictionary by its id, if it is known."""
        return self._known.get(dictionary_id)

    def unknown(self, stored: Iterable[bytes | None]) -> set[bytes]:
        """Return the ids of the dictionaries that these need and that are not known."""
        needed = {dictionary_of(one) for one in stored if one}
        return {one for one in needed if one is not None and one not in self._known}

    def examples(self) -> list[bytes] | None:
        """Return enough examples to learn from, and forget them; None while there are too few, which are collected."""
        if self._examples is None:
            self._examples = []
        if len(self._examples) < EXAMPLES:
            return None
        examples, self._examples = self._examples, None
        return examples

    def _keep_example(self, examples: list[bytes], observation: Observation) -> None:
        if len(examples) < EXAMPLES:
            short = {name: getattr(observation, name)[:EXAMPLE_BYTES] for name in ("body", "request_body")}
            examples.append(self._encoder.encode(msgspec.structs.replace(observation, **short)))
