"""Send spans and metrics to a real OTLP receiver, and test the cost of a missing receiver."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from shadowdiff.telemetry.traces import drawn
from tests.conftest import free_port_number
from tests.fakes.collector import attributes, collecting
from tests.integration.service.conftest import JSON, World, metrics_of, serving, settings, target

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.fakes.collector import Collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
V1_SPAN, V2_SPAN = "b7ad6b7169203331", "00f067aa0ba902b7"
WITHIN_S = 90.0


@contextlib.asynccontextmanager
async def candidate() -> AsyncGenerator[int]:
    """Yield the port of a v2 that returns `{"a":1}`."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"a":1}', content_type=JSON)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool], said: Callable[[], object]) -> None:
    """Wait for a condition with a timeout."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, said()
        await asyncio.sleep(0.02)


async def pair(world: World, request_id: str, v1: bytes, recorded: dict[str, str], mirrored: dict[str, str]) -> None:
    """Send both halves of a request, each with its own trace headers."""
    fields = {f"q-{name}": value for name, value in recorded.items()}
    assert 202 == await world.mesh.record(request_id, v1, f"/products/{request_id}", h_content_type=JSON, **fields)
    assert 202 == await world.mesh.mirror(request_id, f"/products/{request_id}", headers=mirrored)


def links(span: Any) -> dict[str, tuple[str, str, int]]:
    """Return a span's links by side: trace, span, status."""
    found: dict[str, tuple[str, str, int]] = {}
    for link in span.links:
        said = attributes(link)
        status = said["http.response.status_code"]
        found[said["shadowdiff.side"]] = (link.trace_id.hex(), link.span_id.hex(), status)
    return found


async def openmetrics(world: World) -> str:
    """Return a scrape in the format that has exemplars."""
    url = world.service.url("metrics", "/metrics")
    request = urllib.request.Request(url, headers={"accept": "application/openmetrics-text; version=1.0.0"})

    def scrape() -> str:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(scrape)


async def test_a_comparison_is_a_span_linked_to_both_requests(redis_server: RedisServer, tmp_path: Path) -> None:
    """One side uses W3C and the other B3, with the caller's sampling decision. Metrics use the same endpoint."""
    w3c = {"traceparent": f"00-{TRACE}-{V1_SPAN}-01"}
    b3 = {"b3": f"{TRACE}-{V2_SPAN}-1"}
    unsampled = {"traceparent": f"00-{TRACE[::-1]}-{V1_SPAN}-00"}
    with collecting() as collector:
        async with candidate() as port:
            store = {"url": redis_server.url, "prefix": tmp_path.name[-30:]}
            telemetry = {"otlp": collector.url, "interval": "1s"}
            shop = target(port, routes=["GET /products/{id}"])
            config = settings(redis_server.url, shop, store=store, telemetry=telemetry)
            async with serving(tmp_path, config) as world:
                await pair(world, "1", b'{"a":1}', w3c, b3)
                await pair(world, "2", b'{"a":2}', w3c, b3)
                await pair(world, "3", b'{"a":2}', unsampled, unsampled)
                await pair(world, "4", b'{"a":2}', {}, {})
                await world.until(pairs__match=1, pairs__mismatch=3)
                await until(lambda: len(collector.spans) >= 2, lambda: world.service.log)
                text = await openmetrics(world)
    assert_the_spans(collector)
    assert_the_metrics(collector)
    exemplars = [line for line in text.splitlines() if " # {" in line]
    assert exemplars
    assert all(f'trace_id="{TRACE}"' in line for line in exemplars)


def assert_the_spans(collector: Collector) -> None:
    """Check that only sampled requests have spans, each with its result and links."""
    both = {"primary": (TRACE, V1_SPAN, 200), "candidate": (TRACE, V2_SPAN, 200)}
    assert [both, both] == [links(span) for span in collector.spans]
    assert ["compare GET /products/{id}"] * 2 == [span.name for span in collector.spans]
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in collector.spans)
    assert all(span.trace_id.hex() != TRACE and not span.parent_span_id for span in collector.spans)
    said = {found["shadowdiff.result"]: found for found in map(attributes, collector.spans)}
    fingerprint = said["mismatch"].pop("shadowdiff.fingerprint")
    assert fingerprint
    of_both = {
        "http.request.method": "GET",
        "http.route": "/products/{id}",
        "http.response.status_code": 200,
        "server.address": "shop:8080",
        "shadowdiff.target": "shop",
    }
    assert said == {
        "match": of_both | {"shadowdiff.result": "match", "shadowdiff.differences": 0, "shadowdiff.kinds": []},
        "mismatch": of_both
        | {"shadowdiff.result": "mismatch", "shadowdiff.differences": 1, "shadowdiff.kinds": ["value"]},
    }


def assert_the_metrics(collector: Collector) -> None:
    """Check that the final push has all figures, under the names of /metrics."""
    comparisons = collector.metrics["shadowdiff_comparisons_total"].sum
    assert comparisons.is_monotonic
    counted = {attributes(point)["result"]: point.as_int for point in comparisons.data_points}
    assert {"match": 1, "mismatch": 3, "ignored": 0, "incomparable": 0} == counted
    seconds = collector.metrics["shadowdiff_response_seconds"]
    assert "s" == seconds.unit
    assert [4, 4] == [sum(point.bucket_counts) for point in seconds.histogram.data_points]
    assert [4, 4] == [point.count for point in seconds.histogram.data_points]
    assert "shadowdiff_build_info" in collector.metrics
    assert {"shadowdiff"} == {resource["service.name"] for resource in collector.resources}


async def test_a_dead_collector_only_loses_spans(redis_server: RedisServer, tmp_path: Path) -> None:
    """Pairs are compared as usual. Spans above the queue limit are dropped and counted."""
    async with candidate() as port:
        store = {"url": redis_server.url, "prefix": tmp_path.name[-30:]}
        telemetry = {"otlp": f"http://127.0.0.1:{free_port_number()}", "sample": 1.0, "queue": 4}
        config = settings(redis_server.url, target(port), store=store, telemetry=telemetry)
        async with serving(tmp_path, config) as world:
            for number in range(12):
                await pair(world, str(number), b'{"a":1}', {}, {})
            await world.until(pairs__match=12)
            metrics = await metrics_of(world.service)
            spans = {
                dict(labels)["outcome"]: count
                for (name, labels), count in metrics.items()
                if name == "shadowdiff_otlp_spans_total"
            }
            assert 0 == spans["exported"]
            assert spans["dropped"] >= 12 - 4 - spans["failed"]
            assert spans["dropped"] + spans["failed"] <= 12
            assert 0 == await asyncio.to_thread(world.service.stop)


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded() -> None:
    """OpenTelemetry uses no memory and no time per pair unless it is configured."""
    program = (
        "import asyncio, sys, shadowdiff.service.service, shadowdiff.worker, shadowdiff.cli.serve\n"
        "from shadowdiff.config import TelemetryConfig\n"
        "from shadowdiff.service.otlp_export import OtlpExport\n"
        "off = OtlpExport(TelemetryConfig(), 'p')\n"
        "assert off.trace is None and asyncio.run(off.push(None)) is None and off.outcomes() == {}\n"
        "ours = ('opentelemetry.exporter', 'opentelemetry.sdk.trace', 'google.protobuf', 'requests.')\n"
        "print(sorted(name for name in sys.modules if name.startswith(ours)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ("[]\n", "") == (ran.stdout, ran.stderr)


@pytest.mark.parametrize(("sample", "made"), [(0.0, 0), (0.5, 50), (1.0, 100)])
def test_all_processes_sample_the_same_pairs(sample: float, made: int) -> None:
    """Keys are digests, so their first bytes are uniformly distributed."""
    keys = [((number << 64) // 100).to_bytes(8, "big") + bytes(8) for number in range(100)]
    assert made == sum(drawn(key, sample) for key in keys)
