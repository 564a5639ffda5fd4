"""After a run the metrics of one service equal the ledger."""

from __future__ import annotations

import asyncio
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from tests.conftest import needs_tool
from tests.integration.service.conftest import Metrics, World, metrics_of, serving, settings, target
from tests.integration.service.scripts import echoes_the_path, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

RULES = [{"ignore": "$.clock", "reason": "clocks differ"}]
RESULTS = ("match", "ignored", "mismatch", "incomparable")


def _v2(path: str) -> bytes:
    """Return v2's response: v1's response, or one with another time or another price."""
    return {"/match": b'{"price": 1}', "/ignored": b'{"price": 1, "clock": 2}'}.get(path, b'{"price": 2}')


async def _run(world: World) -> None:
    """Send some requests for every row of the ledger."""
    for number in range(12):
        await world.both(f"match-{number}", b'{"price": 1}', "/match")
        await world.both(f"ignored-{number}", b'{"price": 1, "clock": 1}', "/ignored")
    for number in range(5):
        await world.both(f"mismatch-{number}", b'{"price": 1}', "/mismatch")
        await world.both(f"failed-{number}", b"", "/mismatch", status="503")
    assert await world.mesh.mirror("unsafe", method="DELETE") == 202
    assert await world.mesh.mirror("", headers={"x-request-id": ""}) == 202
    assert await world.mesh.record("unsafe", method="DELETE") == 202
    assert await world.mesh.record("broken", status="abc") == 400
    assert await world.mesh.mirror("looped", headers={"x-shadowdiff": "1"}) == 202


def promtool_findings(world: World) -> str:
    """Return the findings of Prometheus's own linter on a scrape."""
    promtool = needs_tool("promtool")
    with urllib.request.urlopen(world.service.url("metrics", "/metrics"), timeout=10) as answer:
        text = answer.read()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    return (checked.stdout + checked.stderr).decode() or ("" if checked.returncode == 0 else "failed")


async def test_metrics_equal_the_ledger(redis_server: RedisServer, tmp_path: Path) -> None:
    """Comparisons are checked by result, and mirrored requests and records by disposition."""
    config = settings(redis_server.url, store={"prefix": "metrics"})
    async with v2(echoes_the_path(_v2)) as port:
        config["targets"] = [target(port, rules=RULES, routes=["/match", "/ignored", "/mismatch"])]
        async with serving(tmp_path, config) as world:
            await _run(world)
            books = await world.until(pairs__ready=34, mirrored__received=37, recorded__received=36)
            metrics = await metrics_of(world.service)
            complaints = await asyncio.to_thread(promtool_findings, world)
    assert complaints == ""
    assert {name: books["pairs"][name] for name in RESULTS} == {
        name: total(metrics, "shadowdiff_comparisons_total", target="shop", result=name) for name in RESULTS
    }
    assert {"match": 12, "ignored": 12, "mismatch": 5, "incomparable": 5} == {
        name: books["pairs"][name] for name in RESULTS
    }
    for row, family in (("mirrored", "shadowdiff_mirrored_requests_total"), ("recorded", "shadowdiff_records_total")):
        counted = {name: count for name, count in books[row].items() if name not in {"received", "in_flight"}}
        measured = {name: total(metrics, family, target="shop", disposition=name) for name in counted}
        assert counted == measured
        assert books[row]["received"] == total(metrics, family, target="shop")
    assert books["mirrored"] | {"blocked": 1, "unidentified": 1, "looped": 1} == books["mirrored"]
    assert books["recorded"] | {"ineligible": 1, "refused": 1} == books["recorded"]


def total(metrics: Metrics, family: str, **labels: str) -> float:
    """Return the sum of a metric over all labels except these."""
    return sum(
        value for (name, stated), value in metrics.items() if name == family and labels.items() <= dict(stated).items()
    )
