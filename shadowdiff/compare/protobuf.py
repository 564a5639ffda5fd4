"""Decode Protocol Buffers messages with a descriptor set, to values in their JSON form.

Unlike in the standard JSON form, 64-bit integers remain exact numbers. Fields that the descriptors do not contain are
under `#NUMBER`. This module is imported only if a target has a descriptor set.
Source: ProtoJSON (protobuf.dev/programming-guides/json).
"""

from __future__ import annotations

import base64
import math
import struct
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from shadowdiff.compare.content_type import BrokenBodyError, MessageType
from shadowdiff.compare.sequence import grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message

    from shadowdiff.rules.json_values import Value

_WELL_KNOWN_FILES: Final[tuple[Any, ...]] = (
    any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2,
)  # fmt: skip
"""Files that come with Protocol Buffers, for sets written without their imports."""
_DEPTH: Final = 100
_GROUP: Final = 3
_BYTES: Final = 2
_FIXED: Final = {1: "fixed64", 5: "fixed32"}
_FEWEST_DIGITS, _MOST_DIGITS = 6, 9
"""The fewest and most digits of a 32-bit float's shortest decimal form."""
_T = FieldDescriptor


class DescriptorError(ValueError):
    """A descriptor set is unusable; the message says why."""


class Descriptors:
    """The descriptors of one target. Another process rebuilds its copy from the same bytes."""

    def __init__(self, descriptor_set: bytes, answers: Iterable[tuple[str, str]] = ()) -> None:
        """Read a descriptor set. answers: the response message of each route. Raises: DescriptorError."""
        self._set = descriptor_set
        self._answers = tuple(answers)
        self._by_route: dict[str, MessageType] = {}
        self._methods: dict[str, tuple[MessageType, MessageType]] = {}
        self._pool, files = _pool(descriptor_set)
        for service in (service for file in files for service in file.services_by_name.values()):
            for method in service.methods:
                self._methods[f"/{service.full_name}/{method.name}"] = (
                    MessageType(method.input_type.full_name, method.client_streaming),
                    MessageType(method.output_type.full_name, method.server_streaming),
                )
        for route, name in self._answers:
            if not self.describes(name):
                raise DescriptorError(
                    f"does not describe the message {name}, the response of {route}; add its file to the set"
                )
            self._by_route[route] = MessageType(name)

    def __reduce__(self) -> tuple[type[Descriptors], tuple[bytes, tuple[tuple[str, str], ...]]]:
        return Descriptors, (self._set, self._answers)

    def response_type(self, route: str, path: str) -> MessageType | None:
        """Return the response type of a gRPC path, or of a route with a configured type."""
        method = self._method(path)
        return method[1] if method else self._by_route.get(route)

    def request_type(self, path: str) -> MessageType | None:
        """Return the request type of a gRPC path."""
        method = self._method(path)
        return method[0] if method else None

    def _method(self, path: str) -> tuple[MessageType, MessageType] | None:
        """Return both types of a method. A server may mount its services below a prefix."""
        return self._methods.get("/" + "/".join(path.partition("?")[0].rsplit("/", 2)[-2:]))

    def describes(self, name: str) -> bool:
        """Whether the set describes the message with this full name."""
        return self._class(name) is not None

    def _class(self, name: str) -> type[Message] | None:
        try:
            return GetMessageClass(self._pool.FindMessageTypeByName(name))
        except KeyError:
            return None

    def value(self, name: str, message: bytes, depth: int = 0) -> Value:
        """Return the value of one message at nesting level `depth`. Raises: BrokenBodyError."""
        kind = self._class(name)
        if kind is None:
            raise BrokenBodyError(f"the descriptors do not have the message {name}")
        if depth > _DEPTH:
            raise BrokenBodyError(f"messages nest deeper than {_DEPTH} levels")
        try:
            return self._message(kind.FromString(message), depth)
        except DecodeError as error:
            raise BrokenBodyError(f"not a {name}: {error}") from error

    def _message(self, message: Any, depth: int) -> Value:
        name = message.DESCRIPTOR.full_name
        unknown_fields = UnknownFieldSet(message)
        if not len(unknown_fields):  # the JSON form of well-known messages cannot contain extra fields
            if name == "google.protobuf.Any":
                return self._any(message, depth)
            well_known = _WELL_KNOWN.get(name)
            if well_known is not None:
                return well_known(message)
        found: dict[str, Value] = {
            f"[{field.full_name}]" if field.is_extension else field.json_name: self._field(field, value, depth)
            for field, value in message.ListFields()
        }
        return found | _unknown_fields(unknown_fields)

    def _field(self, field: Any, value: Any, depth: int) -> Value:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value_field = field.message_type.fields_by_name["value"]
            names = {name: str(name).lower() if isinstance(name, bool) else str(name) for name in value}
            return {spelled: self._single(value_field, value[name], depth) for name, spelled in names.items()}
        if field.is_repeated:
            return [self._single(field, one, depth) for one in value]
        return self._single(field, value, depth)

    def _single(self, field: Any, value: Any, depth: int) -> Value:
        return self._message(value, depth) if field.cpp_type == _T.CPPTYPE_MESSAGE else _scalar(field, value)

    def _any(self, message: Any, depth: int) -> Value:
        name = message.type_url.rpartition("/")[2]
        if not name or not self.describes(name):
            return {"@type": message.type_url, "value": base64.b64encode(message.value).decode()}
        inside = self.value(name, message.value, depth + 1)
        return {"@type": message.type_url, **(inside if isinstance(inside, dict) else {"value": inside})}


def _pool(descriptor_set: bytes) -> tuple[Any, list[Any]]:
    """Return the pool, and the descriptors of the set's files."""
    try:
        files = list(descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file)
    except DecodeError as error:
        raise DescriptorError("is not a descriptor set: create one with protoc --descriptor_set_out") from error
    if not files:
        raise DescriptorError("is an empty descriptor set")
    pool = cast("Any", DescriptorPool())
    named = {file.name for file in files}
    for well_known in _WELL_KNOWN_FILES:
        if well_known.DESCRIPTOR.name not in named:
            pool.AddSerializedFile(well_known.DESCRIPTOR.serialized_pb)
    described: list[Any] = []
    for file in files:  # protoc writes imported files before the files that import them
        try:
            pool.Add(file)
            described.append(pool.FindFileByName(file.name))
        except (KeyError, TypeError, ValueError) as error:
            raise DescriptorError(f"lacks a file that {file.name} imports: use protoc --include_imports") from error
    return pool, described


def _scalar(field: Any, value: Any) -> Value:
    match field.type:
        case _T.TYPE_ENUM:
            named = field.enum_type.values_by_number.get(value)
            return value if named is None else named.name
        case _T.TYPE_BYTES:
            return base64.b64encode(value).decode()
        case _T.TYPE_FLOAT | _T.TYPE_DOUBLE:
            return _number(value, narrow=field.type == _T.TYPE_FLOAT)
        case _:
            return value


def _number(value: float, *, narrow: bool) -> Value:
    """Return a float; round a 32-bit float to its shortest decimal form, so that 0.1 stays 0.1."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if narrow:
        for digits in range(_FEWEST_DIGITS, _MOST_DIGITS + 1):
            short = float(f"{value:.{digits}g}")
            if struct.pack("<f", short) == struct.pack("<f", value):
                return short
    return value


def _unknown_fields(fields: Any) -> dict[str, Value]:
    return dict(grouped((f"#{field.field_number}", _unknown(field)) for field in fields))


def _unknown(field: Any) -> Value:
    """Return a field in its wire form; mark a fixed-length number, because it could be a float."""
    if field.wire_type == _GROUP:
        return _unknown_fields(field.data)
    if field.wire_type == _BYTES:
        return base64.b64encode(field.data).decode()
    fixed = _FIXED.get(field.wire_type)
    return {fixed: field.data} if fixed else field.data


def _json_text(message: Any) -> Value:
    """Return a timestamp, duration or field mask in its JSON form; if it is out of range, return its fields."""
    try:
        return message.ToJsonString()
    except ValueError:
        return {field.json_name: value for field, value in message.ListFields()}


def _wrapped(message: Any) -> Value:
    return _scalar(message.DESCRIPTOR.fields_by_name["value"], message.value)


def _struct(message: Any) -> Value:
    return {name: _loose(value) for name, value in message.fields.items()}


def _loose(value: Any) -> Value:
    kind = value.WhichOneof("kind")
    match kind:
        case "struct_value":
            return _struct(value.struct_value)
        case "list_value":
            return [_loose(one) for one in value.list_value.values]
        case "number_value":
            return _number(value.number_value, narrow=False)
        case "string_value" | "bool_value":
            return getattr(value, kind)
        case _:
            return None


_WRAPPERS: Final = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_WELL_KNOWN: Final[dict[str, Callable[[Any], Value]]] = {
    "google.protobuf.Timestamp": _json_text,
    "google.protobuf.Duration": _json_text,
    "google.protobuf.FieldMask": _json_text,
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": lambda message: [_loose(value) for value in message.values],
    "google.protobuf.Value": _loose,
    **{f"google.protobuf.{name}Value": _wrapped for name in _WRAPPERS},
}
