"""The files that a target names: an OpenAPI description with its routes, and a set of Protocol Buffers descriptors.

Each file is read and checked once, when the configuration is loaded. No file is loaded from the network.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from shadowdiff.config.document import read_document
from shadowdiff.config.problem import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_METHODS: Final = ("get", "head", "options", "post", "put", "patch", "delete", "trace")


class ProtobufConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A checked FileDescriptorSet, and the response message of each route without gRPC."""

    descriptor_set: bytes
    answers: tuple[tuple[str, str], ...] = ()


def read_protobuf(path: Path, answers: Mapping[str, str]) -> ProtobufConfig:
    """Return a file's descriptors; check that all imports and named messages exist. Raises: ValueError."""
    from shadowdiff.compare.protobuf import Descriptors

    config = ProtobufConfig(descriptor_set=_read(path), answers=tuple(answers.items()))
    Descriptors(config.descriptor_set, config.answers)
    return config


def read_routes(path: Path) -> tuple[str, ...]:
    """Return the routes in an OpenAPI 3 or Swagger 2 file, such as `GET /products/{id}`, in the order of the file.

    The path of the first server (`servers[0].url`, or `basePath`) is a prefix of each route.
    Raises: ValueError that states why the file has no usable routes.
    """
    try:
        data = read_document(str(path), _read(path)).data
    except ConfigError as error:
        raise ValueError(f"names a file that cannot be used: {error.problems[0]}") from error
    base = _base_path(data)
    routes = dict.fromkeys(
        f"{method.upper()} {base}{path}"
        for path, item in _mapping(data.get("paths")).items()
        for method in _METHODS
        if method in _mapping(item) and path.startswith("/")
    )
    if not routes:
        raise ValueError("names a file without `paths`; write the path of an OpenAPI description")
    return tuple(routes)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror or error}") from error


def _base_path(data: dict[str, Any]) -> str:
    """Return the path of the first server; variables in the server's URL get their default values."""
    servers = data.get("servers")
    first = _mapping(cast("list[object]", servers)[0]) if isinstance(servers, list) and servers else {}
    url = str(first.get("url", data.get("basePath", "")))
    for name, variable in _mapping(first.get("variables")).items():
        url = url.replace(f"{{{name}}}", str(_mapping(variable).get("default", "")))
    return urlsplit(re.sub(r"\{[^}]*\}", "x", (url.partition("://")[2] and url) or f"http://x{url}")).path.rstrip("/")


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
