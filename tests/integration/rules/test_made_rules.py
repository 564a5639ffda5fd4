"""Test rules that users add: previewed, stored, loaded by every process, and removed."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest
import yaml
from aiohttp import web

from tests.integration.service.conftest import World, lines_of, serving, settings, target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.running import Service

RULE = {"ignore": "$.at"}
V1 = b'{"at": 1, "price": 5}'
WITHIN_S = 60.0


async def v2_responses(request: web.Request) -> web.Response:
    """Respond with a different time each time, and with a different price if the path requests it."""
    body = b'{"at": 2, "price": 6}' if request.path == "/dear" else b'{"at": 2, "price": 5}'
    return web.Response(body=body, content_type="application/json")


@pytest.fixture
async def v2() -> AsyncIterator[int]:
    """Yield the port of a v2 with its own clock."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", v2_responses)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def call(service: Service, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Send a request to the API; return the status and the response."""
    data = None if body is None else json.dumps(body).encode()
    given = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    request = urllib.request.Request(service.url("web", f"/api/v1/{path}"), data, given, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, yaml.safe_load(answer.read())
    except HTTPError as refusal:
        return refusal.code, json.load(refusal)


async def call_in_thread(world: World, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Call without blocking the event loop."""
    return await asyncio.to_thread(call, world.service, method, path, body, **headers)


async def in_force(world: World) -> list[Any]:
    """Return the rules in force in a process."""
    return (await call_in_thread(world, "GET", "rules?target=shop"))[1]["rules"]


async def test_a_rule_is_previewed_added_in_all_processes_stored_and_removed(
    redis_server: RedisServer, tmp_path: Path, v2: int
) -> None:
    """The preview shows the effect. Two processes and a later one apply the rule. Its removal resumes the run."""
    config = settings(f"{redis_server.url[:-1]}9", target(v2), store={"prefix": f"made{time.monotonic_ns()}"})
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    async with serving(folders[0], config) as one:
        async with serving(folders[1], config) as two:
            await one.both("a", V1, "/cheap")
            await one.both("b", V1, "/dear")
            await one.until(pairs__mismatch=2)
            before = await current_run(one)

            status, tried = await call_in_thread(one, "POST", "rules/preview", {"target": "shop", "rules": [RULE]})
            assert (status, tried["before"], tried["after"]) == (200, {"mismatch": 2}, {"ignored": 1, "mismatch": 1})
            assert (tried["changed"], tried["disappearing"], tried["undecided"]) == (1, 1, {})
            assert [(row["place"], row["samples"]) for row in tried["newly_ignored"]] == [
                ({"path": "$['at']", "kind": "value"}, 1),
                ({"path": "$['at']", "kind": "value"}, 1),
            ]
            assert await in_force(one) == []

            new = {"target": "shop", "rule": RULE, "author": "ada", "reason": "clock"}
            status, made = await call_in_thread(one, "POST", "rules", new)
            assert (status, made["author"], made["reason"]) == (200, "ada", "clock")
            (line,) = lines_of(one.service, "audit: rule added")
            assert (line["author"], line["reason"]) == ("ada", "clock")
            assert json.loads(line["rule"]) == RULE | {"reason": "clock"}

            await until_known(two, 1)
            await two.both("c", V1, "/cheap")
            await one.until(pairs__mismatch=2, pairs__ignored=1)
            assert (await current_run(one))["id"] > before["id"]

        async with serving(folders[1], config) as later:
            assert [rule["id"] for rule in await in_force(later)] == [made["id"]]
            _, exported = await call_in_thread(later, "GET", "rules?format=yaml")
            assert exported == {"targets": [{"name": "shop", "rules": [RULE | {"reason": "clock"}]}]}

            status, _ = await call_in_thread(later, "DELETE", f"rules/{made['id']}?author=bob&reason=wrong")
            assert status == 200
            assert len(lines_of(later.service, "audit: rule removed")) == 1
            await until_known(one, 0)
            async with asyncio.timeout(WITHIN_S):
                while await current_run(later) != before:  # noqa: ASYNC110 - tests wait on conditions
                    await asyncio.sleep(0.1)
            await later.both("d", V1, "/cheap")
            await one.until(pairs__mismatch=3, pairs__ignored=1)


async def current_run(world: World) -> Any:
    """Return the run that the verdict is based on."""
    return (await call_in_thread(world, "GET", "runs?target=shop"))[1]["run"]


async def until_known(world: World, rules: int) -> None:
    """Wait until a process has this number of rules in force."""
    async with asyncio.timeout(WITHIN_S):
        while len(await in_force(world)) != rules:  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.1)


async def test_an_invalid_or_cross_site_rule_changes_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    """The error has one line with the fix."""
    config = settings(f"{redis_server.url[:-1]}9", target(), store={"prefix": f"none{time.monotonic_ns()}"})
    async with serving(tmp_path, config) as world:
        new = {"target": "shop", "rule": RULE, "author": "ada", "reason": "clock"}
        refused = [
            await call_in_thread(world, "POST", "rules", new, origin="http://elsewhere.example"),
            await call_in_thread(world, "POST", "rules", new, sec_fetch_site="cross-site"),
            await call_in_thread(world, "POST", "rules", new, content_type="text/plain"),
            await call_in_thread(world, "POST", "rules", new | {"rule": {"ignore": "$["}}),
            await call_in_thread(world, "POST", "rules", new | {"rule": {"forget": "$"}}),
            await call_in_thread(world, "POST", "rules", new | {"author": " "}),
            await call_in_thread(world, "POST", "rules", new | {"target": "shoe"}),
            await call_in_thread(world, "DELETE", "rules/none?author=ada"),
            await call_in_thread(world, "POST", "rules/preview", {"target": "shop", "rules": [{"ignore": 5}]}),
        ]
        assert [status for status, _ in refused] == [403, 403, 415, 400, 400, 400, 404, 404, 400]
        assert all("\n" not in reply["error"] for _, reply in refused)
        assert await in_force(world) == []
