"""Give the report Protocol Buffers as JSON: what pages show, and what is redacted by its names, is read first.

In: judged pairs.  Out: the same, with bodies of messages as the JSON of their values; unread bodies are left out.
Holds: no body of Protocol Buffers comes to rest as bytes, where a secret has no name that it is known by.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import orjson

from shadowdiff.compare import Limits, is_packed, read_message
from shadowdiff.model import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.compare import Messages
    from shadowdiff.config import ProtobufConfig, TargetConfig
    from shadowdiff.model import Comparison, Headers, Observation, Pair, Write
    from shadowdiff.worker import Stage

_TYPE = b"content-type"
_OPENED_HEADERS = frozenset({_TYPE, b"content-encoding", b"grpc-encoding"})


@lru_cache(maxsize=64)
def _made(config: ProtobufConfig) -> Messages:
    from shadowdiff.compare.protobuf import Descriptors

    return Descriptors(config.descriptor_set, config.answers)


def messages_of(target: TargetConfig) -> Messages | None:
    """Return what reads a target's messages; a configuration read anew with the same descriptors is not built anew."""
    return None if target.protobuf is None else _made(target.protobuf)


def opening(stage: Stage, messages: Callable[[str], Messages | None], limits: Limits) -> Stage:
    """Return the stage, given every pair with its messages read."""

    def writes(pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        if comparison.result is not Result.MATCH and _has_messages(pair):
            known = messages(pair.target)
            primary, candidate = (_opened(side, pair.route, known, limits) for side in (pair.primary, pair.candidate))
            pair = msgspec.structs.replace(pair, primary=primary, candidate=candidate)
        return stage(pair, comparison, at_ms)

    return writes


def _has_messages(pair: Pair) -> bool:
    return any(is_packed(h) for h in (pair.primary.headers, pair.candidate.headers, pair.candidate.request_headers))


def _opened(side: Observation, route: str, messages: Messages | None, limits: Limits) -> Observation:
    """Return a side with what it asked and was answered as JSON, and its trailers where people look for them."""
    changes: dict[str, object] = {}
    if is_packed(side.headers):
        value = None if side.truncated else read_message(side, route, limits, messages)
        body = b"" if value is None else orjson.dumps(value)
        unread = value is None and side.body_bytes > 0  # what is longer than what is kept reads as cut
        changes["body"], changes["body_bytes"] = body, side.body_bytes if unread else len(body)
        changes["headers"] = (*_as_json(side.headers), *side.trailers)
    if is_packed(side.request_headers):
        asked = read_message(side, route, limits, messages, asked=True)
        changes["request_body"] = b"" if asked is None else orjson.dumps(asked)
        changes["request_headers"] = _as_json(side.request_headers)
    return msgspec.structs.replace(side, **changes) if changes else side


def _as_json(headers: Headers) -> Headers:
    """Return the fields with the type that the body now has, and the one that it came as."""
    kept = [field for field in headers if field[0] not in _OPENED_HEADERS]
    came_as = next((value for name, value in headers if name == _TYPE), b"")
    return (*kept, (_TYPE, b'application/json; from="%s"' % came_as.replace(b'"', b"'")))
