"""Decide from a request's head where it goes: read its routing fields, and find the target of its Host.

A Host is looked up in this order: the exact value; then the lower-case value with and without the `-shadow` that Envoy
adds before the port; then both without the port; then the same four in wildcards such as `*.shop.example`, which match
one or more labels. The longest wildcard has priority.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.intake.exchange import RawHeaders

T = TypeVar("T")

REMEMBERED_HOSTS = 1024
MOST_HOST_CHARS = 262
"""A longer host matches no wildcard and is not cached: 253 characters for a name, the rest for port and `-shadow`."""
SHADOW = "-shadow"
SHADOW_HEADER = b"x-shadowdiff"
BAGGAGE = b"baggage"
BAGGAGE_KEY = b"shadowdiff"
_ROUTING = frozenset({b"host", SHADOW_HEADER, BAGGAGE, b"upgrade"})


def read_routing_headers(headers: RawHeaders) -> tuple[bytes, bool, bytes]:
    """Return the Host, whether a header or baggage member marks shadow traffic, and whether this is an upgrade."""
    host = upgrade = b""
    is_shadow = False
    for name, value in headers:
        if name in _ROUTING:
            if name == b"host":
                host = value
            elif name == b"upgrade":
                upgrade = value.lower()
            elif name == SHADOW_HEADER or has_member(value):
                is_shadow = True
    return host, is_shadow, upgrade


def has_member(baggage: bytes) -> bool:
    """Whether a baggage header (W3C Baggage, section 3.2) has the member for shadow traffic."""
    if BAGGAGE_KEY not in baggage:
        return False
    return any(member.partition(b"=")[0].strip() == BAGGAGE_KEY for member in baggage.split(b","))


class HostMatch(NamedTuple, Generic[T]):
    """The target's entry or None, and the host as the user sent it."""

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
    """An immutable lookup from Host to a target's entry. It caches a limited number of raw values."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        """Build an index of (configured host, entry) pairs; the first entry of a host has priority."""
        self._exact: dict[str, T] = {}
        self._lower: dict[str, T] = {}
        self.remembered: dict[bytes, HostMatch[T]] = {}
        for host, entry in entries:
            self._exact.setdefault(host, entry)
            self._lower.setdefault(host.lower(), entry)

    def find(self, raw: bytes) -> HostMatch[T]:
        """Return the matching target of a raw Host."""
        found = self.remembered.get(raw)
        if found is None:
            found = self._search(raw.decode("latin-1").strip())
            if len(self.remembered) < REMEMBERED_HOSTS and len(raw) <= MOST_HOST_CHARS:
                self.remembered[raw] = found
        return found

    def find_text(self, host: str) -> HostMatch[T]:
        """Return the matching target of a Host that is given as text."""
        return self.find(host.encode("latin-1", "replace"))

    def _search(self, host: str) -> HostMatch[T]:
        entry = self._exact.get(host)
        if entry is not None:  # a configured host with `-shadow` in its name keeps it
            return HostMatch(entry, host)
        plain = without_shadow(host)
        names = (host, host), (plain, plain), (host, split_port(host)[0]), (plain, split_port(plain)[0])
        for look_up in (self._lower.get, self._wildcard):
            for tried, name in names:
                entry = look_up(name.lower())
                if entry is not None:
                    return HostMatch(entry, tried)
        return HostMatch(None, plain)

    def _wildcard(self, name: str) -> T | None:
        """Return the entry of the longest wildcard that a name matches."""
        first, *labels = name[: MOST_HOST_CHARS + 1].split(".")
        if not first or len(name) > MOST_HOST_CHARS:
            return None
        suffixes = (".".join(("*", *labels[at:])) for at in range(len(labels)))
        return next((self._lower[suffix] for suffix in suffixes if suffix in self._lower), None)
