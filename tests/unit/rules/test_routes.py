"""Requests get their route name from templates or by inference."""

from __future__ import annotations

import pytest

from shadowdiff.rules import Router
from shadowdiff.rules.routes import MAX_REMEMBERED

TEMPLATES = ["/products/{id}", "/products/top", "POST /products/{id}", "/{tenant}/users/{user}"]


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/products/1?x=2", "GET /products/{id}"),
        ("GET", "/products/top", "GET /products/top"),
        ("POST", "/products/1", "POST /products/{id}"),
        ("GET", "/acme/users/7", "GET /{tenant}/users/{user}"),
        ("GET", "/products/", "GET /products/"),
        ("GET", "/products/1/x", "GET /products/{id}/x"),
    ],
)
def test_a_template_names_the_route(method: str, path: str, route: str) -> None:
    """Literal segments come before parameters, and the query is ignored."""
    assert Router(TEMPLATES).route(method, path) == route


def test_a_template_with_a_method_applies_only_to_that_method() -> None:
    """A request with another method than the template's gets an inferred name."""
    assert Router(["POST /a/{name}"]).route("GET", "/a/b") == "GET /a/b"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/users/42", "/users/{id}"),
        ("/users/-1.5", "/users/{id}"),
        ("/o/550e8400-e29b-41d4-a716-446655440000", "/o/{uuid}"),
        ("/o/550E8400E29B41D4A716446655440000", "/o/{uuid}"),
        ("/c/deadbeef01", "/c/{hex}"),
        ("/c/deadbeef", "/c/deadbeef"),
        ("/d/2026-01-31", "/d/{date}"),
        ("/t/eyJhbGciOiJIUzI1NiJ9.e30", "/t/{token}"),
        ("/v1/products", "/v1/products"),
        ("/a-long-but-plain-name-of-a-page", "/a-long-but-plain-name-of-a-page"),
        ("/" + "x" * 60, "/{token}"),
        ("/a" * 20, "/a" * 12 + "/{rest}"),
        ("/products/105.json", "/products/{id}.json"),
        ("/users/user-42", "/users/user-{id}"),
        ("/users/user-000000000042", "/users/user-{id}"),
        ("/orders/42:cancel", "/orders/{id}:cancel"),
        ("/tables/a,b;v=1", "/tables/{list};v={id}"),
        ("/Products(42)", "/Products({id})"),
        ("/static/app.3f2a9c1b.min.js", "/static/app.{hex}.min.js"),
        ("/commits/6dcb09b5b57875f334f61aebed695e2e4193db5e", "/commits/{hex}"),
        ("/api/v1.2/sha1/oauth2", "/api/v1.2/sha1/oauth2"),
    ],
)
def test_without_a_template_identifiers_collapse(path: str, route: str) -> None:
    """A thousand products are one route."""
    assert Router().route("GET", path) == f"GET {route}"


def test_remembered_paths_are_bounded() -> None:
    """New paths replace the oldest ones."""
    router = Router()
    for number in range(MAX_REMEMBERED + 10):
        router.route("GET", f"/users/{number}")
    assert len(router._remembered) == MAX_REMEMBERED  # pyright: ignore[reportPrivateUsage]
