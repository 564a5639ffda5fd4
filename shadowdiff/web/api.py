"""The operations of the API under `/api/v1`, and the OpenAPI 3.1 document that is generated from them.

Every operation also lists the errors of the access and argument checks that run before it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shadowdiff.web.cause_api import CAUSE_OPERATIONS
from shadowdiff.web.erasure_api import ERASURE_OPERATIONS
from shadowdiff.web.fingerprint_api import FINGERPRINT_OPERATIONS
from shadowdiff.web.flagger import FLAGGER_OPERATIONS
from shadowdiff.web.operation import PREFIX, ErrorMessage, Operation, Parameter
from shadowdiff.web.rules_api import RULE_OPERATIONS
from shadowdiff.web.target_api import READ_OPERATIONS, RUN_OPERATIONS

OPERATIONS: Final = (
    *READ_OPERATIONS,
    *FINGERPRINT_OPERATIONS,
    *CAUSE_OPERATIONS,
    *RULE_OPERATIONS,
    *RUN_OPERATIONS,
    *ERASURE_OPERATIONS,
    *FLAGGER_OPERATIONS,
)
_ALWAYS = {403: "The caller's role, address or origin does not allow this", 503: "The store is unavailable"}
_WITH_CREDENTIALS = {401: "Credentials are missing or wrong", 429: "This address sent too many wrong tokens"}
_WITH_BODY = {413: "The body is too large", 415: "The content type is not JSON"}
_SCHEMES = {"bearer": {"type": "http", "scheme": "bearer", "description": "a token of `access.tokens`"}}


def openapi_document(version: str, *, with_credentials: bool = False) -> dict[str, Any]:
    """Return the OpenAPI document.  with_credentials: whether callers need credentials."""
    shapes = dict.fromkeys(shape for operation in OPERATIONS for shape in (operation.answer, operation.body))
    types = [*(shape for shape in shapes if shape not in {None, str}), ErrorMessage]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        described = _operation(operation, by_type, with_credentials=with_credentials)
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "shadowdiff",
            "version": version or "0",
            "summary": "How often, and where, v2's responses differ from v1's.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components} | ({"securitySchemes": _SCHEMES} if with_credentials else {}),
    }


def _operation(operation: Operation, schemas: dict[Any, Any], *, with_credentials: bool) -> dict[str, Any]:
    error = refusal = _json(schemas[ErrorMessage])
    success = _json(schemas.get(operation.answer, {"type": "object"}))
    success |= {kind: {"schema": {}} for kind in operation.also}
    if operation.answer is str:  # every response of this operation is one line of text
        success = refusal = {"text/plain": {"schema": {"type": "string", "maxLength": 1000}}}
    needs_token = with_credentials and operation.needs != "own"
    checks = _ALWAYS | (_WITH_CREDENTIALS if needs_token else {}) | (_WITH_BODY if operation.body else {})
    responses = {200: (operation.summary, success)}
    responses |= {status: (meaning, error) for status, meaning in checks.items()}
    responses |= {status: (meaning, refusal) for status, meaning in operation.refuses.items()}
    described: dict[str, Any] = {
        "operationId": operation.name or operation.path[1:],
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {
            str(status): {"description": meaning, "content": content}
            for status, (meaning, content) in responses.items()
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _json(schemas[operation.body])}
    if needs_token:
        described["security"] = [{"bearer": []}]
    return described


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


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
