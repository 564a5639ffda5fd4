"""A running service exports what the alerts ask for, also before anything was compared."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.integration.service.conftest import metrics_of, serving, settings, target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.integration.service.conftest import Metrics

WITHIN_S = 15.0


def of_shop(found: Metrics, name: str, label: str) -> dict[str, float]:
    """Return one metric's samples of the target by another label."""
    return {
        dict(labels)[label]: value
        for (metric, labels), value in found.items()
        if metric == name and dict(labels)["target"] == "shop"
    }


async def test_the_verdict_and_the_thresholds_are_there_from_the_start(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """One verdict is 1 and the others 0; the thresholds are the configuration's."""
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
