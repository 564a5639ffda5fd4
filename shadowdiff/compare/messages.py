"""Protocol Buffers in bodies: gRPC's frames, and their messages as values that are walked like JSON.

In: a body, and what reads messages (`Messages`, made of a descriptor set and handed in).  Out: a value.
Holds: bounded like every decoder: frames in number, their bytes in sum after decompression.
Source: gRPC over HTTP/2, section "Responses": each message is a flag, its length in four bytes, and its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.decoders import BrokenBodyError
from shadowdiff.compare.headers import value_of
from shadowdiff.compare.media import Form, Media, media_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare.limits import Limits
    from shadowdiff.compare.values import Value
    from shadowdiff.model import Headers, Observation, Pair

MAX_MESSAGES: Final = 100_000
PREFIX_BYTES: Final = 5
_TYPE_PARAMETERS: Final = frozenset({"proto", "messagetype"})


class Spoken(NamedTuple):
    """What a method or route answers with: the message's full name, and whether a stream of them."""

    name: str
    streams: bool = False


class Messages(Protocol):
    """Reads messages by the descriptors of a target."""

    def answer_of(self, route: str, path: str) -> Spoken | None:
        """Return what is answered on a gRPC path, or else on a route that the configuration gives a type."""
        ...

    def question_of(self, path: str) -> Spoken | None:
        """Return what is asked on a gRPC path."""
        ...

    def knows(self, name: str) -> bool:
        """Whether a message of this full name is described."""
        ...

    def value(self, name: str, message: bytes) -> Value:
        """Return one message's value. Raises: BrokenBodyError."""
        ...


def frames(body: bytes, coding: bytes, limits: Limits) -> list[bytes]:
    """Return the messages of a gRPC body, decompressed.

    Raises: BrokenBodyError.
    """
    found: list[bytes] = []
    at = size = 0
    while at < len(body):
        start = at + PREFIX_BYTES
        end = start + int.from_bytes(body[at + 1 : start], "big")
        if start > len(body) or end > len(body):
            raise BrokenBodyError(f"message {len(found)} ends before its length says")
        if body[at] > 1:
            raise BrokenBodyError(f"message {len(found)} has the flag {body[at]}, which is neither 0 nor 1")
        message = body[start:end]
        if body[at]:
            message = _expanded(message, coding, limits)
        size += len(message)
        if size > limits.decoded_bytes or len(found) == MAX_MESSAGES:
            raise BrokenBodyError(f"more than {limits.decoded_bytes} bytes or {MAX_MESSAGES} messages")
        found.append(message)
        at = end
    return found


def _expanded(message: bytes, coding: bytes, limits: Limits) -> bytes:
    if coding.strip().lower() in {b"", b"identity"}:
        raise BrokenBodyError("a message is compressed, and no grpc-encoding says how")
    try:
        return undo(message, coding, limits)
    except CodingError as error:
        raise BrokenBodyError(str(error)) from error


class Packed(NamedTuple):
    """Two bodies of Protocol Buffers, framed or not, and what reads them."""

    pair: Pair
    one: bytes
    other: bytes
    media: tuple[Media, Media]
    limits: Limits
    messages: Messages | None


_PACKED: Final = frozenset({Form.GRPC, Form.PROTOBUF})


def is_packed(headers: Headers) -> bool:
    """Whether a body under these headers is of Protocol Buffers, framed or not."""
    return media_of(value_of(headers, b"content-type")).form in _PACKED


def read_message(
    side: Observation, route: str, limits: Limits, messages: Messages | None, *, asked: bool = False
) -> Value:
    """Return what a side's packed body says, its answer or what was `asked`; None where nothing reads it."""
    headers, body = (side.request_headers, side.request_body) if asked else (side.headers, side.body)
    media = media_of(value_of(headers, b"content-type"))
    found = _messages_of(body, headers, media, limits)
    if messages is None or isinstance(found, BrokenBodyError):
        return None
    if asked:
        spoken = messages.question_of(side.path)
    else:
        spoken = messages.answer_of(route, side.path) or _type_in(media, messages)
    value = None if spoken is None else _value_in(found, spoken, messages)
    return None if isinstance(value, BrokenBodyError) else value


class Readings(NamedTuple):
    """Both bodies as values, or why one is none; where nothing describes them, as lists of messages' bytes."""

    left: Value | BrokenBodyError
    right: Value | BrokenBodyError
    described: bool


def read_both(bodies: Packed) -> Readings:
    """Return what both bodies say."""
    pair, one, other, media, limits, messages = bodies
    left = _messages_of(one, pair.primary.headers, media[0], limits)
    right = _messages_of(other, pair.candidate.headers, media[1], limits)
    spoken = None
    if messages is not None:
        spoken = messages.answer_of(pair.route, pair.primary.path) or _type_in(media[0], messages)
    if messages is None or spoken is None:
        return Readings(cast("Value", left), cast("Value", right), described=False)
    return Readings(_value_in(left, spoken, messages), _value_in(right, spoken, messages), described=True)


def _messages_of(body: bytes, headers: Headers, media: Media, limits: Limits) -> list[bytes] | BrokenBodyError:
    """Return the messages of a body; one that is not framed is one message."""
    if media.form is not Form.GRPC:
        return [body]
    try:
        return frames(body, value_of(headers, b"grpc-encoding"), limits)
    except BrokenBodyError as error:
        return error


def _type_in(media: Media, messages: Messages) -> Spoken | None:
    """Return the type that a Content-Type itself names, as some servers do."""
    named = next((value for name, value in media.parameters if name in _TYPE_PARAMETERS), "")
    return Spoken(named) if named and messages.knows(named) else None


def _value_in(found: list[bytes] | BrokenBodyError, spoken: Spoken, messages: Messages) -> Value | BrokenBodyError:
    if isinstance(found, BrokenBodyError):
        return found
    try:
        return value_in(found, spoken, messages)
    except BrokenBodyError as error:
        return error


def value_in(found: Sequence[bytes], spoken: Spoken, messages: Messages) -> Value:
    """Return the value: an array of messages for a stream, else the one message itself.

    Raises: BrokenBodyError.
    """
    values = [messages.value(spoken.name, message) for message in found]
    if spoken.streams:
        return values
    if len(values) != 1:
        raise BrokenBodyError(f"{len(values)} messages where the method answers with one")
    return values[0]
