"""A running service exports the metrics of the alerts, even before the first comparison."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.integration.service.conftest import metrics_of, serving, settings, target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.integration.service.conftest import Metrics

WITHIN_S = 90.0


def of_shop(found: Metrics, name: str, label: str) -> dict[str, float]:
    """Return a metric's samples for the target, keyed by the value of another label."""
    return {
        dict(labels)[label]: value
        for (metric, labels), value in found.items()
        if metric == name and dict(labels)["target"] == "shop"
    }


async def test_verdict_and_thresholds_are_exported_from_the_start(redis_server: RedisServer, tmp_path: Path) -> None:
    """The gauge of the current verdict is 1, other verdicts' gauges are 0, and thresholds equal the configuration."""
    gate = {"max_mismatch_ratio": 0.02, "min_coverage": 0.5}
    config = settings(redis_server.url, target(gate=gate), store={"prefix": f"gauges{time.monotonic_ns()}"})
    async with serving(tmp_path, config) as world, asyncio.timeout(WITHIN_S):
        found: Metrics = {}
        while not of_shop(found, "shadowdiff_verdict", "verdict"):
            await asyncio.sleep(0.1)
            found = await metrics_of(world.service)
        verdicts = of_shop(found, "shadowdiff_verdict", "verdict")
        assert verdicts == {"pass": 0, "fail": 0, "insufficient": 1}
        assert of_shop(found, "shadowdiff_gate_threshold", "threshold") == gate
