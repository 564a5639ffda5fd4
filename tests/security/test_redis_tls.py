"""Run Redis Cluster and Sentinel with only TLS, with a client certificate and a password for the sentinels."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import RedisError

from shadowdiff.store import Store, open_client
from tests.integration.service.conftest import balanced_and_still, serving, settings, target
from tests.integration.service.scripts import always, response, v2
from tests.redis_cluster import RedisCluster, Sentinels, Tls
from tests.security.conftest import redis_with_tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.security.conftest import Certificates

PASSWORD = "the-sentinels-own-password"
SAME = always(response(b'{"price": 1}', "200 OK", "content-type: application/json"))
PAIRS = 20
SHARDS = 6


@pytest.fixture
def tls(certificates: Certificates) -> Tls:
    """Return the TLS files of servers and clients."""
    return Tls(redis_with_tls(), certificates.ca, certificates.cert, certificates.key)


@pytest.fixture
def cluster(tls: Tls, tmp_path: Path) -> Iterator[RedisCluster]:
    """Run three masters that use TLS with all clients and each other."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = RedisCluster(folder, replicas=0, tls=tls)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def sentinels(tls: Tls, tmp_path: Path) -> Iterator[Sentinels]:
    """Run a master with a replica, and sentinels with a password, all over TLS."""
    made = Sentinels(tmp_path, tls, PASSWORD)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _by_tls(url: str, tls: Tls, **store: str | int) -> dict[str, Any]:
    files = {"ca": str(tls.ca), "cert": str(tls.cert), "cert_key": str(tls.key)}
    return settings(url, store=files | store)


async def _pairs_are_compared(config: dict[str, Any], folder: Path, password: str = "") -> None:
    async with v2(SAME) as port:
        config["targets"] = [target(port)]
        async with serving(folder, config, SENTINEL_PASSWORD=password) as world:
            for number in range(PAIRS):
                await world.both(f"pair-{number}", b'{"price": 1}')
            books = await world.until(pairs__match=PAIRS)
            assert balanced_and_still(books)
            answer: Any = await asyncio.to_thread(world.service.get, "doctor")
            assert [] == [found for found in answer["findings"] if found["code"].startswith("store")]


@pytest.mark.timeout(300)
async def test_a_cluster_over_tls(cluster: RedisCluster, tls: Tls, tmp_path: Path) -> None:
    """The service calls every node over TLS, including discovered ones. Nodes reject clients without certificates."""
    await _pairs_are_compared(_by_tls(cluster.url, tls, shards=SHARDS), tmp_path)
    held = [len(node.say("KEYS", "*")) for node in cluster.masters]
    assert min(held) > 0, held
    for login in ({}, {"ssl_ca_certs": str(tls.ca)}):
        store = Store(open_client(cluster.url, login))
        with pytest.raises(RedisError):
            await store.command("GET", "x")
        await store.close()


@pytest.mark.timeout(300)
async def test_sentinels_over_tls_with_a_password(sentinels: Sentinels, tls: Tls, tmp_path: Path) -> None:
    """The service calls the sentinels over TLS with their password, and then calls the master over TLS."""
    config = _by_tls(sentinels.url, tls, sentinel_password="SENTINEL_PASSWORD")
    await _pairs_are_compared(config, tmp_path, PASSWORD)
    nameless = {"ssl_ca_certs": str(tls.ca), "ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)}
    for login, sentinel_login in (({}, {"password": PASSWORD}), (nameless, {})):
        store = Store(open_client(sentinels.url, login, sentinel_login))
        with pytest.raises(RedisError):
            await store.command("GET", "x")
        await store.close()
