"""Decode binary formats to JSON for samples, so that pages can show them and redaction finds secrets by their names.

A binary body that cannot be decoded is omitted: redaction cannot read its bytes. Other bodies are redacted by the type
that the target's `body_types` names.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import orjson

from shadowdiff.compare import Limits, is_binary, read_value, with_web_trailers
from shadowdiff.compare.coding import CodingError
from shadowdiff.compare.finding import write
from shadowdiff.compare.formats import BrokenBodyError, named_type
from shadowdiff.compare.work import Budget, TooComplexError
from shadowdiff.report.samples import encode_sample
from shadowdiff.rules.json_values import Missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.config import ProtobufConfig, TargetConfig
    from shadowdiff.model import Headers, Observation, Pair
    from shadowdiff.report.samples import Encoder, SampleSource
    from shadowdiff.rules.json_values import Value

_TYPE = b"content-type"
_REPLACED_HEADERS = frozenset({_TYPE, b"content-encoding", b"grpc-encoding"})


@lru_cache(maxsize=64)
def _made(config: ProtobufConfig) -> Descriptors:
    from shadowdiff.compare.protobuf import Descriptors

    return Descriptors(config.descriptor_set, config.answers)


def messages_of(target: TargetConfig) -> Descriptors | None:
    """Return the decoder for a target's messages; a reload with the same descriptors reuses it."""
    return None if target.protobuf is None else _made(target.protobuf)


class DecodedSamples(NamedTuple):
    """Decodes the messages of samples, then encodes the samples; runs in a process because decoding may take long."""

    messages: Descriptors | None
    limits: Limits

    def __call__(self, source: SampleSource) -> tuple[bytes, bytes]:
        """Return the row and the content of a sample."""
        named = named_type(self.limits.body_types, source.pair.route)
        pair = decoded(source.pair, self.messages, self.limits)
        return encode_sample(source._replace(pair=pair, body_type=b"" if is_binary((), named) else named))


def encoder_of(pair: Pair, messages: Callable[[str], Descriptors | None], limits: Limits) -> Encoder:
    """Return the function that encodes samples of a pair."""
    is_typed = named_type(limits.body_types, pair.route) or _has_messages(pair)
    return DecodedSamples(messages(pair.target), limits) if is_typed else encode_sample


def decoded(pair: Pair, messages: Descriptors | None, limits: Limits) -> Pair:
    """Return the pair with decoded messages."""
    with suppress(TooComplexError):
        pair = with_web_trailers(pair, limits)
    primary, candidate, control = (
        side and _decoded(side, pair.route, messages, limits) for side in (pair.primary, pair.candidate, pair.control)
    )
    return msgspec.structs.replace(pair, primary=primary, candidate=candidate, control=control)


def _has_messages(pair: Pair) -> bool:
    sides = (pair.primary, pair.candidate, pair.control)
    return any(side and is_binary(side.headers) for side in sides) or is_binary(pair.candidate.request_headers)


def _decoded(side: Observation, route: str, messages: Descriptors | None, limits: Limits) -> Observation:
    """Return a side with its request and response as JSON, and its trailers added to the headers."""
    changes: dict[str, object] = {}
    if is_binary(side.headers, named_type(limits.body_types, route)):
        value = None if side.truncated else _read(side, route, limits, messages)
        body = b"" if value is None else _json(value)
        unread = value is None and side.body_bytes > 0  # the body is shown as truncated
        changes["body"], changes["body_bytes"] = body, side.body_bytes if unread else len(body)
        changes["headers"] = (*_as_json(side.headers), *side.trailers)
    if is_binary(side.request_headers):
        request = _read(side, route, limits, messages, is_request=True)
        changes["request_body"] = b"" if request is None else _json(request)
        changes["request_headers"] = _as_json(side.request_headers)
    return msgspec.structs.replace(side, **changes) if changes else side


def _read(
    side: Observation, route: str, limits: Limits, messages: Descriptors | None, *, is_request: bool = False
) -> Value:
    try:
        value = read_value(side, route, limits, messages, is_request=is_request, budget=Budget(limits.work))
    except (CodingError, TooComplexError):
        return None
    return None if isinstance(value, (Missing, BrokenBodyError)) else value


def _json(value: Value) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # numbers and duplicate keys that JSON writers do not know
        return write(value).encode("utf-8", "surrogatepass")


def _as_json(headers: Headers) -> Headers:
    """Return the headers with a JSON Content-Type that has the original type as a parameter."""
    kept = [field for field in headers if field[0] not in _REPLACED_HEADERS]
    came_as = next((value for name, value in headers if name == _TYPE), b"")
    return (*kept, (_TYPE, b'application/json; from="%s"' % came_as.replace(b'"', b"'")))
