"""The OpenAPI 3.1 document, written from the same declarations that the routes are made of.

In: the operations, and whether callers are asked who they are.  Out: the document.
Holds: what the door and the checks before a handler refuse stands with every operation that they stand before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shadowdiff.web.operation import PREFIX, Operation, Parameter, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

_REFERENCE = "#/components/schemas/{name}"
_ALWAYS = {403: "Not from here, or not with this role", 503: "The store does not answer"}
_ASKED = {401: "Credentials are missing or wrong", 429: "Too many wrong tokens came from this address"}
_OF_BODIES = {413: "The body is too large", 415: "The body does not say that it is JSON"}


def document(operations: Sequence[Operation], version: str, *, asks: bool = False) -> dict[str, Any]:
    """Return the document that describes these operations. asks: whether callers need credentials."""
    shapes = [shape for operation in operations for shape in (operation.answer, operation.body)]
    types = [shape for shape in dict.fromkeys(shapes) if shape not in {None, str}]
    schemas, components = msgspec.json.schema_components([*types, Refusal], ref_template=_REFERENCE)
    by_type = dict(zip(map(_name, [*types, Refusal]), schemas, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "shadowdiff",
            "version": version or "0",
            "summary": "How often, and where, v2 answers otherwise than v1 did.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": _paths(operations, by_type, asks=asks),
        "components": {"schemas": components} | ({"securitySchemes": _SCHEMES} if asks else {}),
    }


_SCHEMES = {"bearer": {"type": "http", "scheme": "bearer", "description": "a token of `access.tokens`"}}


def _paths(operations: Sequence[Operation], schemas: dict[str, Any], *, asks: bool) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in operations:
        told = _line_of_text(operation, schemas) if operation.answer is str else _operation(operation, schemas)
        door = _ALWAYS | (_ASKED if asks and operation.needs != "own" else {}) | (_OF_BODIES if operation.body else {})
        for status, reason in door.items():
            told["responses"].setdefault(str(status), _response(reason, schemas[_name(Refusal)]))
        if asks and operation.needs != "own":
            told["security"] = [{"bearer": []}]
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = told
    return paths


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object"} if operation.answer is None else schemas[_name(operation.answer)]
    refusals = {str(status): _response(reason, schemas[_name(Refusal)]) for status, reason in operation.refuses.items()}
    answered = _response(operation.summary, schema)
    answered["content"] |= {kind: {"schema": {}} for kind in operation.also}
    return {
        **_body(operation, schemas),
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {"200": answered, **refusals},
    }


def _line_of_text(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return an operation whose every answer, refusals included, is one line of text."""
    told = {200: operation.summary, **operation.refuses}
    content = {"text/plain": {"schema": {"type": "string", "maxLength": 1000}}}
    return {
        **_body(operation, schemas),
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {str(status): {"description": why, "content": content} for status, why in told.items()},
    }


def _body(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    if operation.body is None:
        return {}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schemas[_name(operation.body)]}}}
    }


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    bounds = {
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "enum": list(parameter.choices) or None,
    }
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.description,
        "schema": {"type": parameter.type, **{name: value for name, value in bounds.items() if value is not None}},
    }


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
