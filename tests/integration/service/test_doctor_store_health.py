"""Test findings for all targets: hosts, other processes, the store, the clock, and stored examples."""

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

from shadowdiff.demo.environment import IN_MEMORY
from tests.fakes.serving import served
from tests.integration.service.own_redis import OwnRedis
from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from starlette.requests import Request

    from tests.conftest import RedisServer
    from tests.redis_cluster import RedisCluster

WITHIN_S = 90.0
_BEHIND = """
import time
clock, clock_ns = time.time, time.time_ns
time.time = lambda: clock() - 90
time.time_ns = lambda: clock_ns() - 90_000_000_000
"""


@pytest.fixture(scope="module")
def v2() -> Iterator[str]:
    """Serve a v2 that responds like v1."""

    async def hello(_request: Request) -> Response:
        return Response("hello")

    with served(Starlette(routes=[Route("/{path:path}", hello)])) as url:
        yield url


@contextlib.contextmanager
def _serving(
    folder: Path,
    v2: str,
    store: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    *,
    in_memory: bool = False,
    **target: Any,
) -> Generator[Service]:
    shop = {"name": "shop", "hosts": ["shop"], "candidate": {"url": v2, "timeout": "1s"}, **target}
    config = {"store": dict(store), "pairing": {"window": "3s", "settle": "0s"}, "targets": [shop]}
    folder.mkdir(exist_ok=True)
    service = Service(folder, config, environment or {})
    if in_memory:
        service.program, service.command = IN_MEMORY, ()
    service.start()
    try:
        yield service
    finally:
        service.stop()


async def _codes(service: Service) -> list[str]:
    answer: Any = await asyncio.to_thread(service.get, "doctor")
    return [finding["code"] for finding in answer["findings"]]


async def _until_found(service: Service, expected: list[str]) -> None:
    """Wait until the doctor has only this finding."""
    deadline = time.monotonic() + WITHIN_S
    found: list[str] = []
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            found = await _codes(service)
            if found == expected:
                return
        await asyncio.sleep(0.05)
    assert expected == found, service.log[-3000:]


async def _until_included(service: Service, code: str) -> None:
    """Wait until the doctor has this finding. A snapshot between the two halves may add another one."""
    deadline = time.monotonic() + WITHIN_S
    while code not in (found := await _codes(service)):
        assert time.monotonic() < deadline, (found, service.log[-3000:])
        await asyncio.sleep(0.05)


async def _until_both_halves(service: Service) -> Any:
    """Wait until the example of the only finding has the path of v1's record and of the copy; return the finding."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        answer: Any = await asyncio.to_thread(service.get, "doctor?target=shop")
        row = answer["findings"][0]["examples"][0]["rows"][1]
        if row == ["path", "/products", "/products"]:
            return answer["findings"][0]
        assert time.monotonic() < deadline, row
        await asyncio.sleep(0.05)


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


async def test_an_unconfigured_host_is_found_until_it_is_configured(
    redis_server: RedisServer, tmp_path: Path, v2: str
) -> None:
    """One process gets the requests, and another runs the doctor. After the host is configured there is no finding."""
    store = {"url": redis_server.url, "prefix": "hosts"}
    with _serving(tmp_path / "a", v2, store) as takes, _serving(tmp_path / "b", v2, store) as asked:
        async with mesh_of(takes) as mesh:
            mesh.host = "shop.tutorial.svc.cluster.local"
            for number in range(5):
                await mesh.mirror(f"h-{number}", "/products?token=hunter2")
                await mesh.record(f"h-{number}", b"hello", "/products?token=hunter2")
        await _until_found(asked, ["unknown_host"])
        finding = await _until_both_halves(asked)
        assert "error" == finding["severity"]
        assert "    hosts: [shop, shop.tutorial.svc.cluster.local]" == finding["lines"][-1]
        for service in (takes, asked):
            service.config["targets"][0]["hosts"].append("shop.tutorial.svc.cluster.local")
            service.write()
            service.send(signal.SIGHUP)
        await _until_found(asked, ["nothing_arrives"])
        deadline = time.monotonic() + WITHIN_S
        first = 0
        while await _codes(asked) and time.monotonic() < deadline:  # pairs before its first snapshot are not growth
            await _pairs(takes, first)
            first += 1000
        await _until_found(asked, [])


async def test_an_orphan_that_another_process_found(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """Examples are in the store, without the secrets of their queries, and outlive the process that found them."""
    store = {"url": redis_server.url, "prefix": "orphans"}
    with _serving(tmp_path / "a", v2, store) as finds:
        async with mesh_of(finds) as mesh:
            await mesh.mirror("one", "/1?token=hunter2", headers={"x-diff-id": ""})
            await mesh.record("one", b"hello", "/v1/1?token=hunter2", id_source="x-request-id")
        await finds.until(lambda books: books["observations"]["primary"]["orphaned"] == 1)
        await _until_included(finds, "paths_rewritten")
    with contextlib.closing(_client(redis_server.port)) as client:  # an example in the format of another version
        client.lpush("orphans:{0}:doctor:orphans:shop:primary", b'9999999999999{"of": "another version"}')
        client.hset("orphans:{0}:doctor:processes", "another", b"[]")
    with _serving(tmp_path / "b", v2, store) as asked:
        await _until_included(asked, "paths_rewritten")
    with contextlib.closing(_client(redis_server.port)) as client:
        lists = list(client.scan_iter("orphans:{0}:doctor:orphans:*"))
        kept = [value for name in lists for value in client.lrange(name, 0, -1)]
        bounded = all(0 < client.ttl(name) <= 3600 for name in lists)
    assert (3, True, False) == (len(kept), bounded, any(b"hunter2" in value for value in kept))


def _client(port: int) -> Any:
    """Return a plain client, because Redis's replies have many types."""
    return Redis(port=port)


async def test_a_store_that_is_unavailable_and_recovers(tmp_path: Path, v2: str) -> None:
    """While Redis is dead, the doctor reports only this. After Redis recovers, the doctor has no finding."""
    redis = OwnRedis(tmp_path, durable=True)
    redis.start()
    try:
        with _serving(tmp_path / "a", v2, {"url": redis.url}) as service:
            await _pairs(service, 0)
            await _until_found(service, [])
            redis.kill()
            await _until_found(service, ["store_unavailable"])
            status, output = await asyncio.to_thread(_doctor, service)
            assert (1, True, True) == (status, "The store does not respond." in output, "ConnectionError" in output)
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


async def test_errors_before_a_reload_do_not_fail_the_doctor(redis_server: RedisServer, tmp_path: Path) -> None:
    """v2 responded with 404 once, and after a reload only copies arrive. The API, the page and the command work."""

    async def gone(_request: Request) -> Response:
        return Response("gone", 404)

    with (
        served(Starlette(routes=[Route("/{path:path}", gone)])) as url,
        _serving(tmp_path / "a", url, {"url": redis_server.url, "prefix": "stale"}) as service,
    ):
        async with mesh_of(service) as mesh:
            await _pair(mesh, 0)
            await service.until(lambda books: settled(books) and books["pairs"]["mismatch"] == 1)
            service.config["pairing"]["settle"] = "1ms"
            service.write()
            service.send(signal.SIGHUP)
            await asyncio.to_thread(_wait_for_log, service, "config reloaded")
            deadline, number = time.monotonic() + WITHIN_S, 0
            while await _codes(service) != [
                "mirrors_without_records"
            ]:  # copies before its first snapshot are not growth
                assert time.monotonic() < deadline, service.log[-3000:]
                await mesh.mirror(f"alone-{number}", "/")
                number += 1
            async with mesh.session.get(service.url("web", "/doctor?target=shop")) as page:
                assert (200, True) == (page.status, "mirrors_without_records" in await page.text())
        status, output = await asyncio.to_thread(_doctor, service)
        assert (1, True) == (status, "mirrors_without_records" in output)


async def test_a_corrupt_key_does_not_hide_other_findings(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """Redis replies, so it is not unavailable. The finding names the part of the key, and the other checks run."""
    store = {"url": redis_server.url, "prefix": "corrupt"}
    with _serving(tmp_path / "a", v2, store) as service, contextlib.closing(_client(redis_server.port)) as client:
        await _pairs(service, 0)
        async with mesh_of(service) as mesh:
            mesh.host = "nobody"
            for number in range(5):
                await mesh.mirror(f"h-{number}", "/")
        await _until_found(service, ["unknown_host"])
        client.delete("corrupt:{0}:doctor:pairs:shop")
        client.set("corrupt:{0}:doctor:pairs:shop", "not a hash")
        await _until_found(service, ["unknown_host", "evidence_unreadable"])
        client.delete("corrupt:{0}:doctor:pairs:shop")
        await _until_found(service, ["unknown_host"])


def _wait_for_log(service: Service, text: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while text not in service.log:
        assert time.monotonic() < deadline, service.log[-3000:]
        time.sleep(0.02)


async def test_a_store_that_may_evict_keys(tmp_path: Path, v2: str) -> None:
    """Redis has a memory limit and a policy that evicts keys."""
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


async def test_one_master_of_a_cluster_that_may_evict_keys(
    redis_cluster: RedisCluster, tmp_path: Path, v2: str
) -> None:
    """The doctor checks every master. If only the last one can evict keys, the fix names this master."""
    last = redis_cluster.masters[-1]
    store = {"url": redis_cluster.url, "prefix": "forgets", "shards": 3}
    try:
        with _serving(tmp_path / "a", v2, store) as service:
            last.say("CONFIG", "SET", "maxmemory", "100mb")
            last.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            answer: Any = await asyncio.to_thread(service.get, "doctor")
            (found,) = [finding for finding in answer["findings"] if finding["code"] == "store_evicts"]
            assert "Redis may evict keys (maxmemory-policy allkeys-lru on 1 of 3 servers): 0 so far." == found["title"]
            address = f"127.0.0.1:{last.port}"
            assert [f"redis-cli -u redis://{address} config set maxmemory-policy noeviction"] == found["lines"]
    finally:
        last.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
        last.say("CONFIG", "SET", "maxmemory", "0")


async def test_a_store_without_persistence(tmp_path: Path, v2: str) -> None:
    """The demo's store is in memory. Pairs form, and the doctor reports that nothing is kept."""
    with _serving(tmp_path / "a", v2, {}, in_memory=True) as service:
        await _pairs(service, 0)
        await _until_found(service, ["store_not_durable"])


async def test_a_clock_that_is_behind_the_stores(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """The clock of a node is 90 s behind. Pairs form, and the finding names this clock and no other node's."""
    store = {"url": redis_server.url, "prefix": "clocks"}
    behind = _at_start(tmp_path, _BEHIND)
    with _serving(tmp_path / "a", v2, store, behind) as service, _serving(tmp_path / "b", v2, store) as neighbor:
        await _pairs(service, 0)
        await _until_found(service, ["clocks_differ"])
        await _until_found(neighbor, ["clocks_differ"])
        answer: Any = await asyncio.to_thread(neighbor.get, "doctor")
        finding = answer["findings"][0]
        assert ("90 s behind the store's" in finding["title"], "1 process of 2" in finding["explanation"]) == (
            True,
            True,
        )


def _at_start(folder: Path, code: str) -> dict[str, str]:
    """Return an environment in which Python runs `code` first."""
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


async def test_an_unknown_target_is_rejected(redis_server: RedisServer, tmp_path: Path, v2: str) -> None:
    """The page and the API name it and list the existing names."""
    store = {"url": redis_server.url, "prefix": "refused"}
    with _serving(tmp_path / "a", v2, store) as service:
        async with mesh_of(service) as mesh:
            answers: list[tuple[int, bool]] = []
            for path in ("/api/v1/doctor?target=shpo", "/doctor?target=shpo"):
                async with mesh.session.get(service.url("web", path)) as answer:
                    answers.append((answer.status, "configured: shop" in await answer.text()))
    assert [(404, True)] * 2 == answers
