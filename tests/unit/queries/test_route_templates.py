"""Templates that keep the inferred routes of a target."""

from __future__ import annotations

import yaml

from shadowdiff.model import OTHER
from shadowdiff.queries.route_templates import MAX_PROPOSED, propose_templates, routes_yaml
from shadowdiff.rules import Router
from shadowdiff.verdict.counts import RouteCounts


def counts(*routes: str) -> list[RouteCounts]:
    """Return routes; the first has the most pairs."""
    return [RouteCounts(route=route, results={"match": 100 - at}) for at, route in enumerate(routes)]


def test_each_route_with_a_placeholder_has_a_template() -> None:
    """A method is left out, and a literal route is listed only if a template would match it."""
    routes = counts(
        "GET /users/{name}", "DELETE /users/{name}", "GET /users/me", "GET /health", "GET /products/{id}.json", OTHER
    )
    assert propose_templates(routes, ()) == ("/products/{id}.json", "/users/me", "/users/{name}")


def test_two_routes_of_one_shape_have_one_template() -> None:
    """The template with the most pairs is proposed, because both match the same paths."""
    assert propose_templates(counts("GET /users/{name}", "GET /users/{id}"), ()) == ("/users/{name}",)


def test_configured_templates_are_part_of_the_proposal() -> None:
    """The proposal replaces the setting. It is empty if there is nothing to add."""
    configured = ("/users/{user}", "POST /orders")
    assert propose_templates(counts("GET /users/{user}", "POST /orders"), configured) == ()
    assert propose_templates(counts("GET /users/{user}", "GET /days/{date}"), configured) == (
        *configured,
        "/days/{date}",
    )


def test_routes_that_no_template_expresses_are_left_out() -> None:
    """A template has a fixed number of segments, and a brace needs its partner."""
    routes = counts("GET /a/{id}/{rest}", "GET /b/{", "GET /c/{own}", "OPTIONS *", "POST /graphql#Products")
    assert propose_templates(routes, ()) == ()


def test_a_proposal_is_bounded() -> None:
    """The routes with the most pairs are proposed."""
    routes = counts(*(f"GET /r{number}x/{{id}}" for number in range(2 * MAX_PROPOSED)))
    assert len(propose_templates(routes, ())) == MAX_PROPOSED


def test_routes_keep_their_names_with_the_proposed_templates() -> None:
    """The text is valid YAML for the configuration."""
    paths = ["/users/anna-1", "/users/me", "/products/105.json", "/orders/42:cancel", "/days/2024-05-12", "/health"]
    inferred = [Router().route("GET", path) for path in paths]
    proposed = yaml.safe_load(routes_yaml(propose_templates(counts(*inferred), ())))["routes"]
    configured = Router(proposed)
    assert [configured.route("GET", path) for path in paths] == inferred
