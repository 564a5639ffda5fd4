"""Test the metrics port on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvicorn
from aiohttp import ClientSession

from shadowdiff.telemetry.exposition import Exposition, metrics_app
from tests.unit.telemetry.stages import OPENMETRICS, Stages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Service:
    """A service with adjustable readiness, and its client."""

    def __init__(self, session: ClientSession) -> None:
        self.stages = Stages()
        self.not_ready: str | None = None
        self.app = metrics_app(Exposition(self.stages.sources()).render, lambda: self.not_ready)
        self.url = ""
        self._session = session

    async def ask(self, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, str, str]:
        """Return the status, content type and text of a response."""
        async with self._session.request(method, self.url + path, headers={"accept": accept}) as answer:
            return answer.status, answer.headers["content-type"], await answer.text()


@pytest.fixture
async def service() -> AsyncGenerator[Service]:
    """Run a service that is ready, on a free port."""
    async with ClientSession() as session, asyncio.TaskGroup() as tasks:
        service = Service(session)
        server = uvicorn.Server(uvicorn.Config(service.app, "127.0.0.1", 0, log_config=None, lifespan="on"))
        tasks.create_task(server.serve())
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110  (uvicorn sets no event)
                await asyncio.sleep(0.01)
        port: int = server.servers[0].sockets[0].getsockname()[1]
        service.url = f"http://127.0.0.1:{port}"
        yield service
        server.should_exit = True


async def test_metrics_have_the_requested_format(service: Service) -> None:
    """Plain text by default, OpenMetrics by Accept, each with its content type."""
    status, form, text = await service.ask("/metrics")
    assert status == 200
    assert form.startswith("text/plain; version=")
    assert 'shadowdiff_mirrored_requests_total{disposition="forwarded",target="shop"} 7.0' in text
    _, form, text = await service.ask("/metrics", accept=OPENMETRICS)
    assert form.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


async def test_a_service_that_responds_is_healthy(service: Service) -> None:
    """The service is healthy even while it starts or drains."""
    service.not_ready = "draining"
    assert await service.ask("/healthz") == (200, "text/plain; charset=utf-8", "ok\n")


@pytest.mark.parametrize("reason", ["starting", "draining"])
async def test_a_starting_or_draining_service_is_not_ready(service: Service, reason: str) -> None:
    """The response names the phase."""
    service.not_ready = reason
    assert await service.ask("/readyz") == (503, "text/plain; charset=utf-8", f"{reason}\n")


async def test_a_service_without_a_store_is_ready(service: Service) -> None:
    """A service without a store can still count and shed."""
    service.stages.store_up = False
    assert await service.ask("/readyz") == (200, "text/plain; charset=utf-8", "ready\n")


async def test_other_paths_and_methods_are_rejected(service: Service) -> None:
    """404 lists the three paths; POST is rejected, HEAD is not."""
    status, _, text = await service.ask("/metric")
    assert status == 404
    assert "/metrics, /healthz and /readyz" in text
    assert (await service.ask("/metrics", "POST"))[0] == 405
    assert (await service.ask("/healthz", "HEAD"))[0] == 200
