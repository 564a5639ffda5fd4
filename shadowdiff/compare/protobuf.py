"""Messages of Protocol Buffers, read by a descriptor set, as values with the names and paths of their JSON form.

In: a FileDescriptorSet, as `protoc --include_imports --descriptor_set_out` writes it.  Out: values.
Holds: integers of 64 bits stay exact numbers (JSON's form has them as text); bytes are base64, enums names; what no
descriptor describes is kept under `#NUMBER` and compared.  Pure: imported only where a target has a descriptor set.
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

from shadowdiff.compare.decoders import BrokenBodyError
from shadowdiff.compare.messages import Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message

    from shadowdiff.compare.values import Value

_USUAL: Final[tuple[Any, ...]] = (
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
"""Files that come with Protocol Buffers, for sets that were written without their imports."""
_DEPTH: Final = 100
_GROUP: Final = 3
_BYTES: Final = 2
_FEWEST_DIGITS, _MOST_DIGITS = 6, 9
"""Of a 32-bit float's shortest decimal form."""
_T = FieldDescriptor


class DescriptorError(ValueError):
    """A descriptor set that cannot be used; the message says why."""


class Descriptors:
    """One target's descriptors. Sent to another process it is made anew there, from the same bytes."""

    def __init__(self, descriptor_set: bytes, answers: Iterable[tuple[str, str]] = ()) -> None:
        """Read a set; `answers` gives routes the message that they answer with. Raises: DescriptorError."""
        self._set = descriptor_set
        self._answers = tuple(answers)
        self._classes: dict[str, type[Message]] = {}
        self._by_route: dict[str, Spoken] = {}
        self._methods: dict[str, tuple[Spoken, Spoken]] = {}
        self._pool: Any = _pool(descriptor_set, self._note)
        for route, name in self._answers:
            if not self.knows(name):
                raise DescriptorError(f"describes no message {name}, which {route} is to answer with")
            self._by_route[route] = Spoken(name)

    def __reduce__(self) -> tuple[type[Descriptors], tuple[bytes, tuple[tuple[str, str], ...]]]:
        return Descriptors, (self._set, self._answers)

    def _note(self, file: Any) -> None:
        """Note the methods of a file's services."""
        for service in file.services_by_name.values():
            for method in service.methods:
                self._methods[f"/{service.full_name}/{method.name}"] = (
                    Spoken(method.input_type.full_name, method.client_streaming),
                    Spoken(method.output_type.full_name, method.server_streaming),
                )

    def answer_of(self, route: str, path: str) -> Spoken | None:
        """Return what is answered on a gRPC path, or else on a route that was given a type."""
        method = self._methods.get(path.partition("?")[0])
        return method[1] if method else self._by_route.get(route)

    def question_of(self, path: str) -> Spoken | None:
        """Return what is asked on a gRPC path."""
        method = self._methods.get(path.partition("?")[0])
        return method[0] if method else None

    def knows(self, name: str) -> bool:
        """Whether a message of this full name is described."""
        return self._class(name) is not None

    def value(self, name: str, message: bytes) -> Value:
        """Return one message's value.

        Raises: BrokenBodyError.
        """
        return self._read(name, message, 0)

    def _class(self, name: str) -> type[Message] | None:
        found = self._classes.get(name)
        if found is None:
            try:
                found = GetMessageClass(self._pool.FindMessageTypeByName(name))
            except KeyError:
                return None
            self._classes[name] = found
        return found

    def _read(self, name: str, message: bytes, depth: int) -> Value:
        kind = self._class(name)
        if kind is None:
            raise BrokenBodyError(f"no message {name} is described")
        if depth > _DEPTH:
            raise BrokenBodyError("messages within messages past the bound")
        try:
            return self._message(kind.FromString(message), depth)
        except DecodeError as error:
            raise BrokenBodyError(f"not a {name}: {error}") from error

    def _message(self, message: Any, depth: int) -> Value:
        name = message.DESCRIPTOR.full_name
        if name == "google.protobuf.Any":
            return self._any(message, depth)
        usual = _WELL_KNOWN.get(name)
        if usual is not None:
            return usual(message)
        found: dict[str, Value] = {
            f"[{field.full_name}]" if field.is_extension else field.json_name: self._field(field, value, depth)
            for field, value in message.ListFields()
        }
        for unknown in UnknownFieldSet(message):
            listed = found.setdefault(f"#{unknown.field_number}", [])
            if isinstance(listed, list):
                listed.append(_unknown(unknown))
        return found

    def _field(self, field: Any, value: Any, depth: int) -> Value:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            held = field.message_type.fields_by_name["value"]
            return {_key(name): self._single(held, value[name], depth) for name in value}
        if field.is_repeated:
            return [self._single(field, one, depth) for one in value]
        return self._single(field, value, depth)

    def _single(self, field: Any, value: Any, depth: int) -> Value:
        if field.cpp_type == _T.CPPTYPE_MESSAGE:
            return self._message(value, depth)
        return _scalar(field, value)

    def _any(self, message: Any, depth: int) -> Value:
        """Return the message inside, where it is described."""
        name = message.type_url.rpartition("/")[2]
        if not name or not self.knows(name):
            return {"@type": message.type_url, "value": base64.b64encode(message.value).decode()}
        inside = self._read(name, message.value, depth + 1)
        return {"@type": message.type_url, **(inside if isinstance(inside, dict) else {"value": inside})}


def _pool(descriptor_set: bytes, note: Callable[[Any], None]) -> DescriptorPool:
    try:
        files = list(descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file)
    except DecodeError as error:
        raise DescriptorError("is no descriptor set: write it with protoc --descriptor_set_out") from error
    if not files:
        raise DescriptorError("is an empty descriptor set")
    pool = cast("Any", DescriptorPool())
    named = {file.name for file in files}
    for usual in _USUAL:
        if usual.DESCRIPTOR.name not in named:
            pool.AddSerializedFile(usual.DESCRIPTOR.serialized_pb)
    for file in files:  # protoc writes what is imported before what imports it
        try:
            pool.Add(file)
            note(pool.FindFileByName(file.name))
        except (KeyError, TypeError, ValueError) as error:
            raise DescriptorError(f"lacks what {file.name} imports: write it with --include_imports") from error
    return pool


def _scalar(field: Any, value: Any) -> Value:
    """Return a value that is no message."""
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
    """Return a float; one of 32 bits by the shortest decimal that means it, so that 0.1 stays 0.1."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if narrow:
        for digits in range(_FEWEST_DIGITS, _MOST_DIGITS + 1):
            short = float(f"{value:.{digits}g}")
            if struct.pack("<f", short) == struct.pack("<f", value):
                return short
    return value


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _unknown(field: Any) -> Value:
    """Return what stands under a number that no descriptor describes, as the wire has it."""
    if field.wire_type == _GROUP:
        return {f"#{inside.field_number}": _unknown(inside) for inside in field.data}
    return base64.b64encode(field.data).decode() if field.wire_type == _BYTES else field.data


def _json_text(message: Any) -> Value:
    """Return a time, a span or a mask as JSON writes it; one out of range as its parts."""
    try:
        return message.ToJsonString()
    except ValueError:
        return {field.json_name: value for field, value in message.ListFields()}


def _wrapped(message: Any) -> Value:
    return _scalar(message.DESCRIPTOR.fields_by_name["value"], message.value)


def _struct(message: Any) -> Value:
    return {name: _loose(value) for name, value in message.fields.items()}


def _list(message: Any) -> Value:
    return [_loose(value) for value in message.values]


def _loose(value: Any) -> Value:
    """Return what a google.protobuf.Value holds."""
    kind = value.WhichOneof("kind")
    match kind:
        case "struct_value":
            return _struct(value.struct_value)
        case "list_value":
            return _list(value.list_value)
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
    "google.protobuf.ListValue": _list,
    "google.protobuf.Value": _loose,
    **{f"google.protobuf.{name}Value": _wrapped for name in _WRAPPERS},
}
