"""Protocol Buffers, compared by message: a single message, or the frames of gRPC.

The number of frames and the total size of their decompressed messages are limited. The target's `Descriptors` read the
messages; they are injected, because `compare/protobuf.py` needs the `protobuf` package.
Source: gRPC over HTTP/2, section "Responses".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.content_type import BrokenBodyError, MessageType
from shadowdiff.compare.formats.format import Bodies, Format, Side, value_or_fault
from shadowdiff.compare.headers import value_of
from shadowdiff.compare.work import Budget
from shadowdiff.model import Kind
from shadowdiff.rules.json_values import MISSING, Missing

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.compare.work import Limits
    from shadowdiff.model import Headers
    from shadowdiff.rules.json_values import Value

MAX_MESSAGES: Final = 100_000
PREFIX_BYTES: Final = 5
"""The size of a frame's prefix: a flag, and the length of the message in four bytes."""
_TYPE_PARAMETERS: Final = frozenset({"proto", "messagetype"})


class Protobuf(Format):
    """Reads one message; if there are no descriptors, compares bytes."""

    name = "`application/protobuf` and similar"
    docs = "the JSON form of the message, if the target has descriptors ([gRPC](grpc.md)); otherwise the bytes"
    media_types = ("application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf")
    is_binary = True
    has_lengths = True

    def split(
        self, body: bytes, headers: Headers, media: Media, limits: Limits, budget: Budget | None
    ) -> list[bytes] | BrokenBodyError:
        return [body]

    def embedded(self, body: bytes, media: Media, depth: int) -> Missing:
        return MISSING

    def read(self, side: Side) -> Value | Missing | BrokenBodyError:
        media, messages = side.media, side.messages
        if messages is None:
            return MISSING
        if side.is_request:
            kind = messages.request_type(side.path)
        else:
            kind = messages.response_type(side.route, side.path) or _stated_type(media, messages)
        if kind is None:
            return MISSING
        return _value(self.split(self.plain(side), side.headers, media, side.limits, side.budget), kind, messages)

    def compare(self, bodies: Bodies) -> None:
        budget, pair, media, messages = bodies.findings.budget, bodies.pair, bodies.media, bodies.messages
        self.charge(len(bodies.one) + len(bodies.other), budget)
        if self.compare_presence(bodies):
            return
        left = self.split(bodies.one, pair.primary.headers, media[0], bodies.findings.limits, budget)
        right = self.split(bodies.other, pair.candidate.headers, media[1], bodies.findings.limits, budget)
        kind = None
        if messages is not None:
            kind = messages.response_type(pair.route, pair.primary.path) or _stated_type(media[0], messages)
        if messages is None or kind is None:
            if isinstance(left, BrokenBodyError) or isinstance(right, BrokenBodyError):
                bodies.note_broken(left, right, show=_size)
            elif left != right:
                bodies.findings.note_bytes(bodies.one, bodies.other, bodies.whole)
            return
        bodies.compare_read(_value(left, kind, messages), _value(right, kind, messages), show=_size)

    def compare_presence(self, bodies: Bodies) -> bool:
        """Return whether a side has no messages to compare."""
        return False


class Grpc(Protobuf):
    """Reads the messages in the frames of a call."""

    name = "`application/grpc`"
    docs = "as for `application/protobuf`; if the method streams, an array of messages"
    media_types = ("application/grpc", "application/grpc+proto")

    def unwrap(self, body: bytes, media: Media) -> bytes:
        """Return the frames of a body. Raises: BrokenBodyError."""
        return body

    def split(
        self, body: bytes, headers: Headers, media: Media, limits: Limits, budget: Budget | None
    ) -> list[bytes] | BrokenBodyError:
        try:
            return frames(self.unwrap(body, media), value_of(headers, b"grpc-encoding"), limits, budget)
        except BrokenBodyError as error:
            return error

    def compare_presence(self, bodies: Bodies) -> bool:
        """Note that only one side has messages; the gRPC status says why."""
        has_messages = self._has_messages(bodies.one, bodies.media[0])
        has_messages_other = self._has_messages(bodies.other, bodies.media[1])
        if has_messages and not has_messages_other:
            bodies.findings.note("$", Kind.REMOVED, _size(bodies.one), None, bodies.whole)
        elif has_messages_other and not has_messages:
            bodies.findings.note("$", Kind.ADDED, None, _size(bodies.other), bodies.whole)
        return not (has_messages and has_messages_other)

    def _has_messages(self, body: bytes, media: Media) -> bool:
        try:
            return bool(self.unwrap(body, media))
        except BrokenBodyError:
            return True


def _size(body: bytes) -> str | None:
    return f"{len(body)} bytes" if body else None


def _stated_type(media: Media, messages: Descriptors) -> MessageType | None:
    """Return the message type that some servers name in the Content-Type."""
    named = next((value for name, value in media.parameters if name in _TYPE_PARAMETERS), "")
    return MessageType(named) if named and messages.describes(named) else None


def _value(found: list[bytes] | BrokenBodyError, kind: MessageType, messages: Descriptors) -> Value | BrokenBodyError:
    """Return an array of the messages of a stream, or a single message, or the reason why the body has no value."""
    if isinstance(found, BrokenBodyError):
        return found
    values = value_or_fault(lambda: [messages.value(kind.name, message) for message in found])
    if kind.streams or not isinstance(values, list):
        return values
    return values[0] if len(values) == 1 else BrokenBodyError(f"{len(values)} messages, but the method sends one")


def frames(body: bytes, coding: bytes, limits: Limits, budget: Budget | None = None) -> list[bytes]:
    """Return the messages of a gRPC body, decompressed.

    Raises: BrokenBodyError; TooComplexError if the budget does not cover the decompressed bytes.
    """
    budget = budget or Budget(limits.work)
    found: list[bytes] = []
    at = size = 0
    while at < len(body):
        start = at + PREFIX_BYTES
        end = start + int.from_bytes(body[at + 1 : start], "big")
        if start > len(body) or end > len(body):
            raise BrokenBodyError(f"message {len(found)} is shorter than its length says")
        if body[at] > 1:
            raise BrokenBodyError(f"message {len(found)} has the flag {body[at]}, which is neither 0 nor 1")
        message = body[start:end]
        if body[at]:
            if coding.strip().lower() in {b"", b"identity"}:
                raise BrokenBodyError("a message is compressed, but there is no grpc-encoding")
            try:
                message = undo(message, coding, limits, budget)
            except CodingError as error:
                raise BrokenBodyError(str(error)) from error
            budget.spend(len(message))
        size += len(message)
        if size > limits.decoded_bytes or len(found) == MAX_MESSAGES:
            raise BrokenBodyError(f"more than {limits.decoded_bytes} bytes or {MAX_MESSAGES} messages")
        found.append(message)
        at = end
    return found
