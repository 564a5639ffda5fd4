"""The Lua filter in a real Envoy records the requests that meet INCLUDE and no EXCLUDE, and states what decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from mesh_world import Plan, mesh

if TYPE_CHECKING:
    from pathlib import Path

INCLUDE = """{
  "GET /products/{id}", "/files/*", { route = "POST /search", header = { ["X-Tenant"] = "b*" } },
}"""
EXCLUDE = """{
  "/files/private/*", { header = { ["x-test"] = "1" } }, { users = { cookie = "sid", share = 0.5 } },
}"""
PLAN = Plan(
    lua={"local INCLUDE = {}": f"local INCLUDE = {INCLUDE}", "local EXCLUDE = {}": f"local EXCLUDE = {EXCLUDE}"}
)
KEPT, DROPPED = "sid=user-1", "sid=ada"
"""Cookies of users in the half that is recorded, and in the half that is excluded."""
REQUESTS: list[tuple[str, str, dict[str, str], bool]] = [
    ("GET", "/products/7?q=1", {}, True),
    ("GET", "/products/7/parts", {}, False),
    ("POST", "/products/7", {}, False),
    ("GET", "/files/a/b.txt", {}, True),
    ("GET", "/files/private/b.txt", {}, False),
    ("GET", "/files/%70rivate/b.txt", {}, False),
    ("POST", "/search", {"x-tenant": "beta"}, True),
    ("POST", "/search", {"x-tenant": "alpha"}, False),
    ("POST", "/search", {}, False),
    ("GET", "/products/8", {"x-test": "1"}, False),
    ("GET", "/products/9", {"x-test": "2"}, True),
    ("GET", "/products/10", {"cookie": f"a=b; {KEPT}"}, True),
    ("GET", "/products/11", {"cookie": f"a=b; {DROPPED}"}, False),
    ("GET", "/other", {}, False),
]


async def _v1(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def test_the_filter_records_what_the_conditions_select(tmp_path: Path) -> None:
    """The user gets every response; the records port gets exactly the selected ones."""
    wanted = [f"{method} {path}" for method, path, _, is_recorded in REQUESTS if is_recorded]
    async with mesh(_v1, tmp_path, PLAN) as world:
        for method, path, headers, _ in REQUESTS:
            async with world.user.request(method, f"{world.client}{path}", headers=headers) as answer:
                assert (200, "ok") == (answer.status, await answer.text())
        async with world.user.get(f"{world.client}/products/last") as answer:
            assert 200 == answer.status
        records = await world.stub.recorded(len(wanted) + 1)
    assert sorted([*wanted, "GET /products/last"]) == sorted(
        f"{record.header('method')} {record.header('path')}" for record in records
    )


@pytest.mark.parametrize(
    ("headers", "stated"),
    [
        ({}, {"x-tenant": "", "x-test": "", "cookie": "sid="}),
        ({"x-test": " 2 ", "cookie": f"other=secret; {KEPT}"}, {"x-tenant": "", "x-test": "2", "cookie": KEPT}),
    ],
)
async def test_the_record_states_the_headers_that_decide(
    headers: dict[str, str], stated: dict[str, str], tmp_path: Path
) -> None:
    """The service decides by the same values. A missing header is stated as empty, and no other cookie is stated."""
    async with mesh(_v1, tmp_path, PLAN) as world:
        async with world.user.get(f"{world.client}/products/7", headers=headers):
            pass
        record = (await world.stub.recorded(1))[0]
    assert stated == {name: record.header(f"q-{name}") for name in stated}
