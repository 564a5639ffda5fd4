"""Run a real service process over a real Redis, and play the two halves of a mesh in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.service.own_redis import OwnRedis
from tests.integration.service.redis_link import RedisLink, linked
from tests.running import TARGET, Mesh, Service, mesh_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

JSON = "application/json"
DEAD_PORT = 1
"""No process listens on it, so a candidate that no test uses is refused."""


def target(port: int = DEAD_PORT, name: str = TARGET, **changes: Any) -> dict[str, Any]:
    """Return the settings of a target whose v2 listens on `port`; `candidate` adds settings of the candidate."""
    candidate = {"url": f"http://127.0.0.1:{port}", "timeout": "5s", "queue_timeout": "2s"}
    return {"name": name, "hosts": [name], "candidate": candidate | changes.pop("candidate", {})} | changes


def settings(url: str, *targets: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Return a configuration for the Redis at `url`; `sections` add or replace parts."""
    plain: dict[str, Any] = {
        "store": {"url": url},
        "pairing": {"window": "20s", "settle": "200ms", "claim_idle": "5s"},
        "samples": {"per_fingerprint": 5000},  # keep all samples, because tests search for their own
        "targets": list(targets),
    }
    return plain | {name: {**plain.get(name, {}), **section} for name, section in sections.items()}


@dataclass
class World:
    """A running service, its mesh, and its target."""

    service: Service
    mesh: Mesh
    target: str = TARGET

    async def both(self, request_id: str, body: bytes = b"{}", path: str = "/", **fields: str) -> None:
        """Send both halves of one request: v1's response has `body`, as JSON unless `fields` has another type."""
        stated = {name: value for name, value in ({"h_content_type": JSON} | fields).items() if value}
        assert await self.mesh.record(request_id, body, path, **stated) == 202
        assert await self.mesh.mirror(request_id, path, stated.get("method", "GET")) == 202

    async def until(self, **fields: int) -> Any:
        """Return the ledger once it has these figures, such as `pairs__match=1`, and nothing is in flight."""

        def holds(books: Any) -> bool:
            return balanced_and_still(books) and all(figure(books, name) == count for name, count in fields.items())

        return await self.service.until(holds, target=self.target)

    async def samples(self, result: str = "mismatch") -> list[Any]:
        """Return the samples of one result, newest first."""
        path = f"samples?target={self.target}&result={result}&limit=10000"
        return (await asyncio.to_thread(self.service.get, path))["samples"]

    async def failures(self) -> Counter[str | None]:
        """Return the count of each failure of v2 in the samples."""
        return Counter(sample["failure"] for sample in await self.samples())


def figure(books: Any, dotted: str) -> int:
    """Return one figure of the ledger, such as `pairs__match`."""
    for part in dotted.split("__"):
        books = books[part]
    return books


def balanced_and_still(books: Any) -> bool:
    """Return whether the ledger balances and nothing is waiting, pending or in flight."""
    waiting = sum(row["waiting"] for row in books["observations"].values())
    in_flight = books["mirrored"]["in_flight"] + books["recorded"]["in_flight"]
    return books["balanced"] and waiting + in_flight + books["pairs"]["pending"] == 0


def lines_of(service: Service, message: str) -> list[Any]:
    """Return the log lines with this message."""
    parsed = (json.loads(line) for line in service.log.splitlines() if line.startswith("{"))
    return [line for line in parsed if line["message"] == message]


Metrics = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def metrics_of(service: Service) -> Metrics:
    """Return every sample of a scrape by name and labels."""

    def scrape() -> str:
        with urllib.request.urlopen(service.url("metrics", "/metrics"), timeout=10) as answer:
            return answer.read().decode()

    families = text_string_to_metric_families(await asyncio.to_thread(scrape))
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


@contextlib.asynccontextmanager
async def serving(
    folder: Path, config: dict[str, Any], *, tls: ssl.SSLContext | None = None, **environment: str
) -> AsyncGenerator[World]:
    """Run a service for a test, and stop it cleanly. tls: the TLS context for its ports, if any."""
    service = Service(folder, config, environment, tls=tls)
    try:
        await asyncio.to_thread(service.start)
        async with mesh_of(service) as mesh:
            yield World(service, mesh)
    finally:
        if service.process is not None:
            await asyncio.to_thread(service.stop)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """Return a separate Redis that has not started yet."""
    folder = tmp_path / "redis"
    folder.mkdir()
    redis = OwnRedis(folder)
    yield redis
    redis.kill()


@pytest.fixture
async def link(own_redis: OwnRedis) -> AsyncIterator[RedisLink]:
    """Return a link to a separate running Redis."""
    await asyncio.to_thread(own_redis.start)
    async with linked(own_redis.port) as made:
        yield made
