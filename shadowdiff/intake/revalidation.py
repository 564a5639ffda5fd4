"""Repeat a conditional request with v2's own ETag, because users only have v1's ETags.

Pure. A v2 that sends its full response again does not answer 304 to its own ETag. Only safe requests are repeated.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from shadowdiff.model import REVALIDATION

if TYPE_CHECKING:
    from shadowdiff.intake.upstream import MirroredRequest
    from shadowdiff.model import Headers, Observation

_OK: Final = 200
_METHODS: Final = frozenset({"GET", "HEAD"})
IF_NONE_MATCH: Final = b"if-none-match"
_CONDITIONS: Final = frozenset({IF_NONE_MATCH, b"if-modified-since", b"if-range", b"range"})


def revalidation(request: MirroredRequest, response: Observation) -> MirroredRequest | None:
    """Return the request with v2's ETag in place of the user's; None if this would test nothing."""
    if response.status != _OK or response.failure is not None or request.method not in _METHODS:
        return None
    tag = _etag(response.headers)
    sent = [value for name, value in request.headers if name == IF_NONE_MATCH]
    if not tag or not sent or any(tag.removeprefix(b"W/") in value for value in sent):
        return None
    fields = [one for one in request.headers if one[0] not in _CONDITIONS]
    return dataclasses.replace(request, headers=[*fields, (IF_NONE_MATCH, tag), REVALIDATION])


def ignores_own_etag(first: Observation, again: Observation) -> bool:
    """Return whether v2 sent the same full response again, with the same ETag or a new one."""
    is_same = _etag(first.headers) == _etag(again.headers) or (first.body == again.body and not again.truncated)
    return again.status == _OK and is_same


def _etag(headers: Headers) -> bytes:
    return next((value.strip() for name, value in headers if name == b"etag"), b"")
