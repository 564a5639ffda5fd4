"""A real service sends v2 only what the target's settings allow, by route, and counts the rest."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.serving import served
from tests.running import Mesh, Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    from tests.conftest import RedisServer

TARGETS: dict[str, dict[str, Any]] = {
    "single": {"methods": ["GET", "POST /search"]},
    "graph": {"methods": ["GET"], "graphql": ["/graphql"]},
    "all": {},
    "prefix": {"include": ["/route/1"]},
    "unrecorded": {},
    "tenants": {"include": [{"header": {"x-tenant": "b*"}}], "exclude": ["/export"]},
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


async def _mirror_one_of_two_routes(service: Service, mesh: Mesh, host: str, turn: int = 1) -> None:
    """Mirror `/route/1` only, and record each response of `/route/1` and `/route/2`."""
    mesh.host = host
    for number in range(25):
        await mesh.mirror(f"m-{turn}-{number}", "/route/1")
        await mesh.record(f"m-{turn}-{number}", b"hello", "/route/1")
        for other in range(3):
            await mesh.record(f"o-{turn}-{number}-{other}", b"hello", "/route/2")
    await service.until(
        lambda now: (
            now["pairs"]["ready"] == 25 * turn
            and not now["pairs"]["pending"]
            and now["observations"]["primary"]["orphaned"] + now["recorded"]["excluded"] == 75 * turn
        ),
        target=host,
    )


async def _mirror_without_records(service: Service, mesh: Mesh, host: str, turn: int) -> None:
    """Mirror `/route/1` and `/route/2`, and record `/route/1` only."""
    mesh.host = host
    for number in range(25):
        await mesh.mirror(f"r-{turn}-{number}", "/route/1")
        await mesh.record(f"r-{turn}-{number}", b"hello", "/route/1")
        await mesh.mirror(f"n-{turn}-{number}", "/route/2")
    await service.until(
        lambda now: (
            now["pairs"]["ready"] == 25 * turn
            and not now["pairs"]["pending"]
            and now["observations"]["candidate"]["orphaned"] == 25 * turn
        ),
        target=host,
    )


async def _findings(service: Service, target: str) -> list[Any]:
    found: Any = await asyncio.to_thread(service.get, f"doctor?target={target}")
    return found["findings"]


async def _finding(service: Service, mesh: Mesh, host: str, send: Callable[..., Any]) -> Any:
    """Return the only finding. The first traffic may have arrived while doctor took its first snapshot."""
    for turn in (1, 2):
        await send(service, mesh, host, turn)
        if found := await _findings(service, host):
            (finding,) = found
            return finding
    raise AssertionError("doctor finds nothing")


async def test_a_mirror_by_prefix_is_named_with_the_setting_for_it(service: Service, mesh: Mesh) -> None:
    """The mesh mirrors one route, and the recorder records two. doctor names both routes, and suggests no sample."""
    finding = await _finding(service, mesh, "all", _mirror_one_of_two_routes)
    assert "routes_not_mirrored" == finding["code"]
    expected = " v1 responses of GET /route/2 have no mirrored request; all pairs are of GET /route/1."
    assert finding["title"].endswith(expected)
    assert ["targets:", "  - name: all", '    include: ["GET /route/1"]'] == finding["lines"]


async def test_include_leaves_the_other_route_out_of_the_coverage(service: Service, mesh: Mesh) -> None:
    """The same traffic has full coverage, and doctor finds nothing."""
    await _mirror_one_of_two_routes(service, mesh, "prefix")
    verdict = await asyncio.to_thread(service.get, "verdict?target=prefix")
    assert (25, 1.0) == (verdict["coverage"]["eligible"], verdict["coverage"]["ratio"])
    assert [] == await _findings(service, "prefix")
    funnel: Any = await asyncio.to_thread(service.get, "funnel?target=prefix")
    losses = {route["route"]: {loss["reason"]: loss["count"] for loss in route["losses"]} for route in funnel["routes"]}
    assert {"GET /route/{id}": {"excluded": 75}} == losses


async def test_a_route_that_is_never_recorded_is_named(service: Service, mesh: Mesh) -> None:
    """The recorder skips one route that is mirrored."""
    finding = await _finding(service, mesh, "unrecorded", _mirror_without_records)
    assert "routes_not_recorded" == finding["code"]
    expected = " mirrored requests of GET /route/2 have no record; all pairs are of GET /route/1."
    assert finding["title"].endswith(expected)


async def test_both_ports_decide_alike_by_a_header(service: Service, mesh: Mesh) -> None:
    """No half of a request is excluded alone. A record that does not state the header is rejected with the fix."""
    mesh.host = "tenants"
    for number, (path, tenant) in enumerate((("/a", "beta"), ("/a", "alpha"), ("/a", ""), ("/export", "beta"))):
        await mesh.mirror(f"t-{number}", path, headers={"x-tenant": tenant})
        assert 202 == await mesh.record(f"t-{number}", b"hello", path, q_x_tenant=tenant)
    line = {
        "id": "t-9", "id_source": "x-diff-id", "method": "GET", "path": "/a", "host": "tenants", "status": 200,
    }  # fmt: skip
    lines = [{**line, "request_headers": [["x-tenant", "beta"]]}, {**line, "request_headers": [["x-tenant", ""]]}, line]
    await mesh.mirror("t-9", "/a", headers={"x-tenant": "beta"})
    body = "\n".join(map(json.dumps, lines))
    async with mesh.session.post(service.url("records", "/records"), data=body) as answer:
        refused = (await answer.json())["refused"]
    assert [3] == [one["line"] for one in refused]
    assert refused[0]["error"].startswith("x-shadowdiff-q-x-tenant is missing: include or exclude of tenants reads")
    assert 400 == await mesh.record("t-8", b"hello", "/a")
    books = await service.until(
        lambda now: now["pairs"]["ready"] == 2 and not now["pairs"]["pending"], target="tenants"
    )
    assert (3, 4) == (books["mirrored"]["excluded"], books["recorded"]["excluded"])
    assert (2, True) == (books["recorded"]["refused"], books["balanced"])
    assert 2 == len([one for one in RECEIVED if one[0] == "tenants"])
    sample = await asyncio.to_thread(service.get, "samples?target=tenants")
    assert "x-tenant" not in json.dumps(sample).replace('"x-tenant","beta"', "")
