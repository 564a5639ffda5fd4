"""Secrets that settings name: their bytes never appear in a log line, an error, a page or a `repr`."""

from __future__ import annotations

import hmac


class Secret:
    """Bytes that no log line, error or `repr` shows.

    source: the variable or file that contains the bytes, or the text that names them. parts: the secrets in the bytes,
    if not all of the bytes are secret.
    """

    __slots__ = ("_parts", "_value", "source")

    def __init__(self, value: bytes, source: str = "", parts: tuple[bytes, ...] | None = None) -> None:
        self._value = value
        self._parts = parts
        self.source = source

    def reveal(self) -> bytes:
        """Return the bytes."""
        return self._value

    def reveal_parts(self) -> tuple[bytes, ...]:
        """Return the secrets in the bytes."""
        return (self._value,) if self._parts is None else self._parts

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other.reveal())

    def __hash__(self) -> int:
        return hash(self._value)
