"""Decide who may post records: check bearer tokens, if any are configured, and limit the rate of each source address.

Tokens are compared as digests, in constant time. After too many wrong tokens, all tokens from the same source are
rejected for a while. The table of sources has a size limit; the least recently seen source is dropped first. Callers
pass the time.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.exchange import Scope

MOST_SOURCES: Final = 4096
TRUSTED_S: Final = 600.0
_TRUST_RENEWED_S: Final = 60.0


class SourceLimiter:
    """A token bucket for each source address: allows `per_s` records on average and `burst` at once."""

    def __init__(self, per_s: float, burst: float, most: int = MOST_SOURCES) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._trusted: OrderedDict[str, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<SourceLimiter {len(self._levels)} sources, {len(self._trusted)} trusted>"

    def has_room(self, source: str, now_s: float) -> bool:
        """Return whether a source may continue: it is trusted, or has tokens left. This takes no tokens."""
        name = source_of(source)
        return now_s - self._trusted.get(name, -math.inf) < TRUSTED_S or self._level(name, now_s) >= 1.0

    def take(self, source: str, now_s: float, many: int = 1) -> bool:
        """Take `many` tokens, even if fewer are left; if no token is left, take nothing and return False."""
        name = source_of(source)
        level = self._level(name, now_s)
        room = level >= 1.0
        self._levels[name] = (level - many if room else level, now_s)
        self._bound(self._levels, name)
        return room

    def trust(self, source: str, now_s: float) -> None:
        """Let a source continue for ten minutes, even if it has no tokens left.

        Callers use this method after a correct token. Many clients may have the same address (behind a mesh, the
        sidecar's address), and a client without a token must not block the others.
        """
        name = source_of(source)
        if now_s - self._trusted.get(name, -math.inf) >= _TRUST_RENEWED_S:
            self._trusted[name] = now_s
            self._bound(self._trusted, name)

    def _bound(self, table: OrderedDict[str, tuple[float, float]] | OrderedDict[str, float], name: str) -> None:
        table.move_to_end(name)
        if len(table) > self._most:
            table.popitem(last=False)

    def _level(self, name: str, now_s: float) -> float:
        level, at_s = self._levels.get(name, (self._burst, now_s))
        return min(self._burst, level + max(0.0, now_s - at_s) * self._per_s)


@lru_cache(maxsize=1024)
def source_of(address: str) -> str:
    """Return the source of an address: the address, the IPv4 address that it maps, or its /64 network of one host."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return str(found)


class TokenChecker:
    """Checks tokens against the configured ones.

    attempts: the remaining attempts of each source; callers take one for a wrong token.
    trusts: whether a source with a correct token is exempt from waiting for some time.
    """

    def __init__(self, tokens: Iterable[bytes], attempts_a_minute: int, *, trusts: bool = True) -> None:
        self._salt = secrets.token_bytes(32)
        self._digests = tuple(self._digest(token) for token in tokens)
        self.attempts = SourceLimiter(attempts_a_minute / 60, attempts_a_minute)
        self._trusts = trusts

    def __bool__(self) -> bool:
        return bool(self._digests)

    def _digest(self, token: bytes) -> bytes:
        return hmac.digest(self._salt, token, "sha256")

    def find(self, token: bytes, source: str, now_s: float) -> int | None:
        """Return the number of the configured token that equals this token, or None."""
        given = self._digest(token)
        found = [at for at, digest in enumerate(self._digests) if hmac.compare_digest(digest, given)]
        if found and self._trusts:
            self.attempts.trust(source, now_s)
        return found[0] if found else None


class Admission:
    """The checks for every record. is_open: anyone may send at any rate."""

    def __init__(
        self, tokens: Iterable[bytes], per_source_s: int, clock_s: Callable[[], float], attempts_a_minute: int = 10
    ) -> None:
        self._tokens = TokenChecker(tokens, attempts_a_minute)
        self._rate = SourceLimiter(per_source_s, per_source_s) if per_source_s else None
        self._clock_s = clock_s
        self.is_open = not self._tokens and self._rate is None

    def has_token(self, scope: Scope) -> bool:
        """Return whether the request has a correct token, or does not need one."""
        if not self._tokens:
            return True
        source, now_s = _source(scope), self._clock_s()
        has_room = self._tokens.attempts.has_room(source, now_s)
        return has_room and self._tokens.find(_token(scope), source, now_s) is not None

    def must_wait(self, scope: Scope) -> bool:
        """Count a request without a correct token; return whether its address has sent too many wrong tokens."""
        if not _token(scope):
            return False
        source, now_s = _source(scope), self._clock_s()
        if not self._tokens.attempts.has_room(source, now_s):
            return True
        self._tokens.attempts.take(source, now_s)
        return False

    def has_room(self, scope: Scope, records: int = 1) -> bool:
        """Take this many records from the address's allowance; return False if the allowance is used up."""
        return self._rate is None or self._rate.take(_source(scope), self._clock_s(), records)


def _source(scope: Scope) -> str:
    peer: tuple[str, int] | None = scope.get("client")
    return peer[0] if peer else ""


def _token(scope: Scope) -> bytes:
    """Return the bearer token; empty if there is no token, or more than one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else b""
