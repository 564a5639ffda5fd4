"""Who may record: a bearer token where any is configured, and no more from one address than it may send.

In: a request's headers and its peer.  Out: whether it may come in.
Holds: tokens are kept as digests, and each is compared in constant time whichever fits; the table of addresses is
bounded.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from shadowdiff.intake.rate import SourceRate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.asgi import Scope


class Admission:
    """What every record passes."""

    __slots__ = ("_clock_s", "_digests", "_rate", "_salt", "is_open")

    def __init__(self, tokens: Iterable[bytes], per_source_s: int, clock_s: Callable[[], float]) -> None:
        self._salt = secrets.token_bytes(32)
        self._digests = tuple(hmac.digest(self._salt, token, "sha256") for token in tokens)
        self._rate = SourceRate(per_source_s, max(1, per_source_s)) if per_source_s else None
        self._clock_s = clock_s
        self.is_open = not self._digests and self._rate is None
        """Whether nothing is asked, so that nobody need ask."""

    def knows(self, scope: Scope) -> bool:
        """Return whether the request brings one of the tokens, or none is needed."""
        if not self._digests:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        digest = hmac.digest(self._salt, token.strip(), "sha256")
        fits = sum(hmac.compare_digest(one, digest) for one in self._digests)
        return fits > 0 and scheme.lower() == b"bearer"

    def has_room(self, scope: Scope, records: int = 1) -> bool:
        """Take so many records of the address's share; False where none of it is left."""
        if self._rate is None:
            return True
        peer = scope.get("client")
        return self._rate.take(peer[0] if peer else "", self._clock_s(), records)
