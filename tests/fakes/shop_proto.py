"""Protocol Buffers of a shop, built without protoc: messages, a service, and a second version of one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.message import Message

F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": F.TYPE_STRING, "bytes": F.TYPE_BYTES, "int64": F.TYPE_INT64, "uint64": F.TYPE_UINT64,
    "int32": F.TYPE_INT32, "float": F.TYPE_FLOAT, "double": F.TYPE_DOUBLE, "bool": F.TYPE_BOOL,
}  # fmt: skip
SERVICE = "/shop.v1.Shop"


def _field(message: Any, number: int, name: str, kind: str, *, many: bool = False) -> None:
    field = message.field.add(name=name, number=number, label=F.LABEL_REPEATED if many else F.LABEL_OPTIONAL)
    if kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type = F.TYPE_ENUM if kind == ".shop.v1.Color" else F.TYPE_MESSAGE
        field.type_name = kind


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="shop/v1/shop.proto", package="shop.v1", syntax="proto3")
    file.dependency.extend([timestamp_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name, "google/protobuf/any.proto"])
    file.dependency.append("google/protobuf/struct.proto")
    color = file.enum_type.add(name="Color")
    color.value.add(name="COLOR_UNSPECIFIED", number=0)
    color.value.add(name="COLOR_RED", number=1)
    ask = file.message_type.add(name="Ask")
    _field(ask, 1, "sku", "string")
    product = file.message_type.add(name="Product")
    stock = product.nested_type.add(name="StockEntry")
    stock.options.map_entry = True
    _field(stock, 1, "key", "string")
    _field(stock, 2, "value", "int64")
    for number, (name, kind) in enumerate(
        [
            ("sku", "string"), ("unit_price", "int64"), ("ratio", "float"), ("weight", "double"), ("image", "bytes"),
            ("color", ".shop.v1.Color"), ("made_at", ".google.protobuf.Timestamp"),
            ("limit", ".google.protobuf.UInt64Value"), ("detail", ".google.protobuf.Any"),
            ("extra", ".google.protobuf.Struct"), ("on_sale", "bool"), ("parent", ".shop.v1.Product"),
        ],
        start=1,
    ):  # fmt: skip
        _field(product, number, name, kind)
    _field(product, 20, "tags", "string", many=True)
    _field(product, 21, "stock", ".shop.v1.Product.StockEntry", many=True)
    newer = file.message_type.add(name="NewerProduct")  # the old descriptors lack one of its fields
    _field(newer, 1, "sku", "string")
    _field(newer, 100, "rank", "int64")
    service = file.service.add(name="Shop")
    service.method.add(name="Get", input_type=".shop.v1.Ask", output_type=".shop.v1.Product")
    service.method.add(name="List", input_type=".shop.v1.Ask", output_type=".shop.v1.Product", server_streaming=True)
    return file


FILE = _file()


def descriptor_set() -> bytes:
    """Return the descriptor set that protoc writes without `--include_imports`."""
    return descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()


def _classes() -> dict[str, type[Message]]:
    pool: Any = DescriptorPool()
    from google.protobuf import any_pb2, struct_pb2

    for usual in (timestamp_pb2, wrappers_pb2, any_pb2, struct_pb2):
        pool.AddSerializedFile(usual.DESCRIPTOR.serialized_pb)
    pool.Add(FILE)
    names = ("Ask", "Product", "NewerProduct")
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"shop.v1.{name}")) for name in names}


CLASSES: dict[str, Any] = _classes()
Ask, Product, NewerProduct = CLASSES["Ask"], CLASSES["Product"], CLASSES["NewerProduct"]


def framed(*messages: bytes, compressed: bool = False) -> bytes:
    """Return messages in gRPC's wire format."""
    return b"".join(bytes((compressed,)) + len(one).to_bytes(4, "big") + one for one in messages)
