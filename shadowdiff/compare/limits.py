"""What one comparison may cost and say."""

from __future__ import annotations

from typing import Final

import msgspec

COMPARED_HEADERS: Final = (
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "allow",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "deprecation",
    "etag",
    "last-modified",
    "link",
    "location",
    "preference-applied",
    "retry-after",
    "set-cookie",
    "sunset",
    "vary",
    "www-authenticate",
)
"""Headers that a client can tell apart; others (date, server, tracing, hop by hop) say nothing of v2's answer."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one comparison.

    decoded_bytes: of one body after content decoding.  ratio: of decoded to encoded size, past the first 64 KiB.
    differences, covered: how many are listed that count, and that a rule covers; the rest is counted.
    value_chars, path_chars: of what a difference shows.
    headers: lower-case names of the headers that are compared; content-type always is.
    """

    decoded_bytes: int = 8 << 20
    ratio: int = 200
    differences: int = 100
    covered: int = 50
    value_chars: int = 512
    path_chars: int = 1024
    headers: tuple[str, ...] = COMPARED_HEADERS
