"""The routes of an OpenAPI description, as templates with their methods.

In: a file, YAML or JSON, OpenAPI 3 or Swagger 2.  Out: `GET /products/{id}` and so on, in the order of the file.
Holds: the path of the first server (`servers[0].url`, or `basePath`) stands before each; nothing is fetched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from shadowdiff.config.document import read_document
from shadowdiff.config.problem import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_METHODS: Final = ("get", "head", "options", "post", "put", "patch", "delete", "trace")


def read_routes(path: Path) -> tuple[str, ...]:
    """Return the routes of the description at `path`.

    Raises: ValueError, saying why it gives none.
    """
    try:
        data = read_document(str(path), path.read_bytes()).data
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror or error}") from error
    except ConfigError as error:
        raise ValueError(f"names a file that cannot be used: {error.problems[0]}") from error
    routes = tuple(dict.fromkeys(_routes(data)))
    if not routes:
        raise ValueError("names a file without `paths`; write the path of an OpenAPI description")
    return routes


def _routes(data: dict[str, Any]) -> Iterator[str]:
    base = _base(data)
    for path, item in _mapping(data.get("paths")).items():
        for method in _METHODS:
            if method in _mapping(item) and path.startswith("/"):
                yield f"{method.upper()} {base}{path}"


def _base(data: dict[str, Any]) -> str:
    """Return the path before all others, with the variables of the server's URL at their defaults."""
    servers = data.get("servers")
    first = _mapping(cast("list[object]", servers)[0]) if isinstance(servers, list) and servers else {}
    url = str(first.get("url", data.get("basePath", "")))
    for name, variable in _mapping(first.get("variables")).items():
        url = url.replace(f"{{{name}}}", str(_mapping(variable).get("default", "")))
    return urlsplit(re.sub(r"\{[^}]*\}", "x", (url.partition("://")[2] and url) or f"http://x{url}")).path.rstrip("/")


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
