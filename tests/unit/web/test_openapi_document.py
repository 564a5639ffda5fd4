"""The OpenAPI document is valid and complete, and matches the API's responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.routing import Route

from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.shop import open_shop, web_parts

if TYPE_CHECKING:
    from starlette.applications import Starlette


@pytest.fixture(scope="module")
def shop() -> Starlette:
    """Return the API for a shop with planted faults."""
    return create_web(web_parts(open_shop()))


def _fits(answer: Any, schema: dict[str, Any]) -> None:
    validator: Any = Draft202012Validator(schema)
    validator.validate(answer)


async def _document(app: Starlette) -> Any:
    return (await get(app, "/api/v1/openapi.json")).json


async def test_the_document_is_valid_openapi(shop: Starlette) -> None:
    """Generators and gateways can read it."""
    validate(await _document(shop))


async def test_every_route_of_the_api_is_described(shop: Starlette) -> None:
    """The API serves exactly the routes in the document."""
    served = {route.path for route in shop.routes if isinstance(route, Route) and route.path.startswith("/api/")}
    assert served == {*(await _document(shop))["paths"], "/api/v1/openapi.json"}


async def test_responses_match_the_description(shop: Starlette) -> None:
    """The response of each operation matches its schema."""
    document = await _document(shop)
    samples = (await get(shop, "/api/v1/samples?target=shop")).json["samples"]
    causes = (await get(shop, "/api/v1/causes?target=shop")).json["causes"]
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        name = samples[0]["fingerprint" if "fingerprints" in path else "id"]
        name = causes[0]["id"] if "causes" in path else name
        asked = path.replace("{target}", "shop").replace("{id}", quote(name)) + "?target=shop"
        answer = await get(shop, asked)
        schema = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        _fits(answer.json, {**schema, "components": document["components"]})
        assert 200 == answer.status, asked


async def test_refusals_fit_their_schema(shop: Starlette) -> None:
    """An error is an object with one line."""
    document = await _document(shop)
    for target in ("targets/x", "samples?target=shop&limit=x", "ledger"):
        answer = await get(shop, f"/api/v1/{target}")
        reference = {"$ref": "#/components/schemas/ErrorMessage", "components": document["components"]}
        _fits(answer.json, reference)


async def test_every_parameter_has_a_description(shop: Starlette) -> None:
    """The document is enough to use the API."""
    for methods in (await _document(shop))["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert all(parameter["description"] for parameter in operation["parameters"])
