"""gRPC-Web, compared by message.

The trailers are in the last frame of the body; they are moved to the trailers of the response before the comparison.
Types that end in `-text` encode the whole body in base64.
Source: PROTOCOL-WEB.md, "Protocol differences vs gRPC over HTTP2".
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.content_type import BrokenBodyError, media_of
from shadowdiff.compare.formats.grpc import MAX_MESSAGES, PREFIX_BYTES, Grpc
from shadowdiff.compare.headers import all_of, value_of
from shadowdiff.compare.work import Budget

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.compare.work import Limits
    from shadowdiff.model import Headers, Observation, Pair

_WEB: Final = "application/grpc-web"
_TEXT: Final = "application/grpc-web-text"
_TRAILERS: Final = 0x80
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


class GrpcWeb(Grpc):
    """Reads the messages in the frames before the trailers."""

    name = "gRPC-Web"
    docs = "messages, as for `application/grpc`; the trailers in the body are compared as trailers"
    media_types = (_WEB, f"{_WEB}+proto", _TEXT, f"{_TEXT}+proto")

    def unwrap(self, body: bytes, media: Media) -> bytes:
        return split_web(body, media)[0]


def split_web(body: bytes, media: Media) -> tuple[bytes, Headers]:
    """Return the gRPC frames of a body, and its trailers. Raises: BrokenBodyError."""
    if media.name.startswith(_TEXT):
        body = _from_base64(body)
    at = count = 0
    while at + PREFIX_BYTES <= len(body) and not body[at] & _TRAILERS:
        at += PREFIX_BYTES + int.from_bytes(body[at + 1 : at + PREFIX_BYTES], "big")
        count += 1
        if count > MAX_MESSAGES:
            raise BrokenBodyError(f"more than {MAX_MESSAGES} messages")
    if at >= len(body) or not body[at] & _TRAILERS:
        return body, ()
    start = at + PREFIX_BYTES
    if body[at] != _TRAILERS or start + int.from_bytes(body[at + 1 : start], "big") != len(body):
        raise BrokenBodyError("the trailers are compressed, or are not at the end of the body")
    fields = (line.partition(b":") for line in body[start:].split(b"\r\n") if line)
    return body[:at], tuple((name.strip().lower(), value.strip()) for name, _, value in fields)


def _from_base64(text: bytes) -> bytes:
    text = b"".join(text.split())
    parts = _BASE64.findall(text)
    try:
        decoded = [binascii.a2b_base64(part, strict_mode=True) for part in parts]
    except binascii.Error as error:
        raise BrokenBodyError(f"not base64: {error}") from error
    if sum(map(len, parts)) != len(text):
        raise BrokenBodyError("not base64")
    return b"".join(decoded)


def has_web_trailers(pair: Pair) -> bool:
    """Whether the body of a side may contain its trailers."""
    return pair.primary.method == "POST" and (_is_web(pair.primary) or _is_web(pair.candidate))


def _is_web(side: Observation) -> bool:
    return value_of(side.headers, b"content-type").lower().startswith(_WEB.encode()) and not side.trailers


def with_web_trailers(pair: Pair, limits: Limits, budget: Budget | None = None) -> Pair:
    """Return the pair with the trailers moved out of gRPC-Web bodies. Raises: TooComplexError."""
    if not has_web_trailers(pair):
        return pair
    primary, candidate = _with_trailers(pair.primary, limits, budget), _with_trailers(pair.candidate, limits, budget)
    return msgspec.structs.replace(pair, primary=primary, candidate=candidate)


def _with_trailers(side: Observation, limits: Limits, budget: Budget | None) -> Observation:
    if not _is_web(side):
        return side
    budget = budget or Budget(limits.work)
    try:
        body = undo(side.body, b",".join(all_of(side.headers, b"content-encoding")), limits, budget)
        budget.spend(len(body) // 4)
        _, trailers = split_web(body, media_of(value_of(side.headers, b"content-type")))
    except (CodingError, BrokenBodyError):
        return side
    return msgspec.structs.replace(side, trailers=trailers) if trailers else side
