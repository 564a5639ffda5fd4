"""A real service sends v2 only what the target's settings allow, by route, and counts the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.serving import served
from tests.running import Mesh, Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

    from tests.conftest import RedisServer

TARGETS: dict[str, dict[str, Any]] = {
    "single": {"methods": ["GET", "POST /search"]},
    "graph": {"methods": ["GET"], "graphql": ["/graphql"]},
}
"""Targets by name, which is also the only host, with their special settings."""
RECEIVED: list[tuple[str, str, str]] = []
"""Host, method and path of each request to v2."""


async def _answer(request: Request) -> Response:
    RECEIVED.append((request.headers["x-forwarded-host"].partition(":")[0], request.method, request.url.path))
    return Response("hello")


@pytest.fixture(scope="module", name="service")
def _service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service with all targets, and their v2."""
    v2 = Starlette(routes=[Route("/{path:path}", _answer, methods=["GET", "POST"])])
    with served(v2) as url:
        config = {
            "store": {"url": redis_server.url, "prefix": "sent_routes"},
            "pairing": {"window": "1s", "settle": "100ms"},
            "targets": [
                {"name": name, "hosts": [name], "candidate": {"url": url}, **more} for name, more in TARGETS.items()
            ],
        }
        service = Service(tmp_path_factory.mktemp("sent_routes"), config)
        service.start()
        yield service
        assert service.stop() == 0


@pytest_asyncio.fixture(name="mesh")
async def _mesh(service: Service) -> AsyncIterator[Mesh]:
    """Return a client that sends both halves to the service."""
    async with mesh_of(service) as mesh:
        yield mesh


async def test_only_the_allowed_route_of_a_method_is_sent(service: Service, mesh: Mesh) -> None:
    """v2 receives `POST /search`. `POST /orders` is blocked, and v1's response to it does not lower the coverage."""
    mesh.host = "single"
    for number, path in enumerate(("/search", "/orders", "/search/../orders")):
        await mesh.mirror(f"s-{number}", path, method="POST")
        await mesh.record(f"s-{number}", b"hello", path, method="POST")
    books = await service.until(
        lambda now: now["coverage"]["compared"] == 1 and now["mirrored"]["blocked"] == 2, target="single"
    )
    assert [("single", "POST", "/search")] == [one for one in RECEIVED if one[0] == "single"]
    assert (2, 0) == (books["recorded"]["ineligible"], books["observations"]["primary"]["orphaned"])
    verdict = await asyncio.to_thread(service.get, "verdict?target=single")
    assert 1.0 == verdict["coverage"]["ratio"]


async def test_only_queries_of_graphql_are_sent_and_each_operation_is_a_route(service: Service, mesh: Mesh) -> None:
    """The records of withheld operations find their partner, so the coverage and the funnel are exact."""
    mesh.host = "graph"
    documents = ("query Products{products}", "mutation Buy{buy}", "subscription S{s}", "{cart}", "mutation")
    for number, document in enumerate(documents):
        await mesh.mirror(f"g-{number}", "/graphql", method="POST", json={"query": document})
        await mesh.record(f"g-{number}", b"hello", "/graphql", method="POST")
    books = await service.until(
        lambda now: now["pairs"]["ready"] == len(documents) and not now["pairs"]["pending"], target="graph"
    )
    assert [("graph", "POST", "/graphql")] * 2 == [one for one in RECEIVED if one[0] == "graph"]
    assert (2, 3, 0) == tuple(books["mirrored"][name] for name in ("forwarded", "withheld", "blocked"))
    assert (2, 3) == (books["pairs"]["match"] + books["pairs"]["ignored"], books["pairs"]["incomparable"])
    assert {"eligible": 2, "compared": 2, "ratio": 1.0} == books["coverage"]
    funnel = await asyncio.to_thread(service.get, "funnel?target=graph")
    routes = {route["route"]: {loss["reason"]: loss["count"] for loss in route["losses"]} for route in funnel["routes"]}
    unnamed = next(route for route in routes if route.startswith("POST /graphql#query-"))
    withheld = {"withheld": 1}
    assert {
        "POST /graphql#Products": {}, "POST /graphql#Buy": withheld, "POST /graphql#S": withheld, unnamed: {},
        "POST /graphql#_unreadable": withheld,
    } == routes  # fmt: skip
    assert funnel["exact"]
    samples = await asyncio.to_thread(service.get, "samples?target=graph&result=incomparable")
    assert [] == samples["samples"]
