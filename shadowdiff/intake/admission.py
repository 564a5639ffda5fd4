"""Who may record: a bearer token where any is configured, and no more from one address than it may send.

In: a request's headers and its peer.  Out: whether it may come in.
Holds: tokens are compared as digests, with each in constant time whichever fits; of an address that brought too
many wrong ones none is compared for a while; the tables of addresses are bounded.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from shadowdiff.intake.attempts import Attempts
from shadowdiff.intake.rate import SourceRate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.asgi import Scope


ATTEMPTS_A_MINUTE = 10


class Admission:
    """What every record passes."""

    __slots__ = ("_attempts", "_clock_s", "_digests", "_rate", "_salt", "is_open")

    def __init__(
        self,
        tokens: Iterable[bytes],
        per_source_s: int,
        clock_s: Callable[[], float],
        attempts_a_minute: int = ATTEMPTS_A_MINUTE,
    ) -> None:
        self._salt = secrets.token_bytes(32)
        self._digests = tuple(hmac.digest(self._salt, token, "sha256") for token in tokens)
        self._rate = SourceRate(per_source_s, max(1, per_source_s)) if per_source_s else None
        self._attempts = Attempts(attempts_a_minute)
        self._clock_s = clock_s
        self.is_open = not self._digests and self._rate is None
        """Whether nothing is asked, so that nobody need ask."""

    def knows(self, scope: Scope) -> bool:
        """Return whether the request brings one of the tokens, from where it may, or none is needed."""
        if not self._digests:
            return True
        source, now_s = _source(scope), self._clock_s()
        if not self._attempts.may_try(source, now_s):
            return False
        digest = hmac.digest(self._salt, _token(scope), "sha256")
        fits = sum(hmac.compare_digest(one, digest) for one in self._digests) > 0
        if fits:
            self._attempts.was_right(source, now_s)
        return fits

    def waits(self, scope: Scope) -> bool:
        """Note a request that `knows` did not know; return whether its address has brought too many wrong tokens."""
        if not _token(scope):
            return False
        source, now_s = _source(scope), self._clock_s()
        if not self._attempts.may_try(source, now_s):
            return True
        self._attempts.was_wrong(source, now_s)
        return False

    def has_room(self, scope: Scope, records: int = 1) -> bool:
        """Take so many records of the address's share; False where none of it is left."""
        return self._rate is None or self._rate.take(_source(scope), self._clock_s(), records)


def _source(scope: Scope) -> str:
    peer: tuple[str, int] | None = scope.get("client")
    return peer[0] if peer else ""


def _token(scope: Scope) -> bytes:
    """Return the bearer token; empty where there is none, or more than one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else b""
