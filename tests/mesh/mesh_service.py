"""Run the real service behind a real Envoy. Only v1 and v2 are test stubs.

The service runs with the embedded store, as users run it, and stops at the end of the test.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml
from mesh_world import Handler, Plan, World, mesh, serving

from shadowdiff.demo.api import TARGET, Api, Ledger, wait_settled
from shadowdiff.demo.envoy import responds
from shadowdiff.demo.process import HOST, Child, free_ports, start, stop, wait_ready

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

PORTS: tuple[str, ...] = ("mirror", "records", "web", "metrics")
NO_SETTINGS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class ServiceMesh:
    """A running mesh and its shadowdiff service."""

    world: World
    service: Child
    api: Api

    async def when(self, arrived: Callable[[Ledger], bool]) -> Ledger:
        """Wait until all requests have arrived and the ledger is stable; return the ledger."""
        return await wait_settled(self.api, arrived, within_s=60, quiet_s=60)


@asynccontextmanager
async def service_mesh(
    v1: Handler, v2: Handler, folder: Path, plan: Plan | None = None, settings: Mapping[str, Any] = NO_SETTINGS
) -> AsyncGenerator[ServiceMesh]:
    """Run the mesh and the service; `settings` are the target's settings."""
    async with AsyncExitStack() as stack:
        candidate = await stack.enter_async_context(serving(v2))
        ports = dict(zip(PORTS, free_ports([0] * len(PORTS)), strict=True))
        config = folder / "shadowdiff.yaml"
        _ = config.write_text(yaml.safe_dump(_configuration(ports, candidate, folder, settings)))
        service = start("service", [sys.executable, "-m", "shadowdiff", "serve", "--config", str(config)], folder)
        _ = stack.push_async_callback(stop, service)
        plan = replace(plan or Plan(), ports=(ports["mirror"], ports["records"]))
        world = await stack.enter_async_context(mesh(v1, folder, plan))
        await wait_ready(service, responds(world.user, f"http://{HOST}:{ports['metrics']}/readyz"), 30)
        yield ServiceMesh(world, service, Api(world.user, f"http://{HOST}:{ports['web']}"))


def _configuration(
    ports: Mapping[str, int], candidate: int, folder: Path, settings: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "store": {"data_dir": str(folder / "store")},
        "pairing": {"window": "10s"},
        "listen": {"host": HOST, "web_host": HOST, **ports},
        "samples": {"keep": 5000, "per_fingerprint": 5000},
        "targets": [
            {
                "name": TARGET,
                "hosts": [HOST, TARGET],
                "candidate": {"url": f"http://{HOST}:{candidate}", "timeout": "3s", "queue_timeout": "2s"},
                **settings,
            }
        ],
    }
