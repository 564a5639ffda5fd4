"""Which target a Host names.

In: the configured hosts of each target, and the raw Host of a request.  Out: the target, or None.
Order: exact; then lower case, without the `-shadow` that Envoy puts before the port, and without the port.
Holds: the index is built once and never changed; raw values are remembered up to a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

REMEMBERED_HOSTS = 1024
SHADOW = "-shadow"


class Found(NamedTuple, Generic[T]):
    """What a Host names: the target's entry (None: no target), and the host as the user sent it."""

    entry: T | None
    host: str


def split_port(host: str) -> tuple[str, str]:
    """Return (host, `:port` or empty). An IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and (":" not in name or "]" in name):
        return name, colon + port
    return host, ""


def without_shadow(host: str) -> str:
    """Return the host without the suffix that Envoy adds before the port of a mirrored request."""
    name, port = split_port(host)
    if name[-len(SHADOW) :].lower() == SHADOW and len(name) > len(SHADOW):
        return name[: -len(SHADOW)] + port
    return host


class HostIndex(Generic[T]):
    """An immutable lookup from Host to a target's entry."""

    __slots__ = ("_exact", "_lower", "_remembered")

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        """Take (configured host, entry) pairs; the first to name a host has it."""
        self._exact: dict[str, T] = {}
        self._lower: dict[str, T] = {}
        self._remembered: dict[bytes, Found[T]] = {}
        for host, entry in entries:
            self._exact.setdefault(host, entry)
            self._lower.setdefault(host.lower(), entry)

    @property
    def remembered(self) -> int:
        """How many raw values are remembered."""
        return len(self._remembered)

    def find(self, raw: bytes) -> Found[T]:
        """Return what a raw Host names."""
        found = self._remembered.get(raw)
        if found is None:
            found = self._search(raw.decode("latin-1").strip())
            if len(self._remembered) < REMEMBERED_HOSTS:
                self._remembered[raw] = found
        return found

    def find_text(self, host: str) -> Found[T]:
        """Return what a Host given as text names."""
        return self.find(host.encode("latin-1", "replace"))

    def _search(self, host: str) -> Found[T]:
        entry = self._exact.get(host)
        if entry is not None:  # a host that is configured with `-shadow` in its name keeps it
            return Found(entry, host)
        plain = without_shadow(host)
        for seen, port_left in ((host, True), (plain, True), (host, False), (plain, False)):
            entry = self._lower.get((seen if port_left else split_port(seen)[0]).lower())
            if entry is not None:
                return Found(entry, seen)
        return Found(None, plain)
