"""Serve the metrics port. A scrape reads all metrics at one moment on the event loop, then writes the text in a thread.

So a scrape of a thousand series does not delay requests. Healthy means that the event loop runs; ready means that the
service can accept, count and shed requests. An unavailable store is a metric, and does not make a pod unready: a pod
that gets no traffic could not count losses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import msgspec
from prometheus_client import ProcessCollector, core
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from shadowdiff.telemetry.histogram import BOUNDS_S, Histogram
from shadowdiff.telemetry.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from starlette.requests import Request

    from shadowdiff.telemetry.metrics import Labels, Metric, Reading, Sources

_TRACE_CHARACTERS = 100
"""OpenMetrics allows 128 characters for an exemplar's labels, names included."""

_FAMILIES: Final = {
    "counter": core.CounterMetricFamily,
    "gauge": core.GaugeMetricFamily,
    "histogram": core.HistogramMetricFamily,
    "info": core.InfoMetricFamily,
}
Snapshot = dict[str, list["Reading"]]
"""The series of every metric at one moment, by the metric's name."""


class Exposition:
    """The metrics of one process, including `process_*`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._process = ProcessCollector(registry=None)

    def snapshot(self) -> Snapshot:
        """Read the current value of all metrics; call this on the event loop."""
        gauges = self._sources.gauges()  # several metrics use the gauges, and reading many targets takes long
        sources = msgspec.structs.replace(self._sources, gauges=lambda: gauges)
        return {name: list(metric.read(sources)) for name, metric in METRICS.items()}

    def take(self) -> Collector:
        """Read the current value of all metrics; any thread can collect the result."""
        return SnapshotCollector(self.snapshot(), self._process.collect)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text of one scrape and its content type; use OpenMetrics if `accept` requests it."""
        return await encode(self.take(), accept)


@dataclass(frozen=True, slots=True)
class SnapshotCollector(Collector):
    """A snapshot of the metrics, and the `process_*` metrics."""

    snapshot: Snapshot
    process: Callable[[], Iterable[core.Metric]]

    def collect(self) -> Iterator[core.Metric]:
        """Yield each metric with its series."""
        for name, metric in METRICS.items():
            yield _family(metric, self.snapshot[name])
        yield from self.process()


async def encode(taken: Collector, accept: str) -> tuple[bytes, str]:
    """Write metrics as text in a thread, and return the text and its content type."""
    try:
        encoder, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the version is not a numeric value
        encoder, content_type = choose_encoder("")
    return await asyncio.to_thread(encoder, taken), content_type


def utf8(labels: Labels) -> Labels:
    """Return labels that UTF-8 can encode: a lone surrogate in a path must not make every scrape fail."""
    return tuple(label.encode("utf-8", "backslashreplace").decode() for label in labels)


def _family(metric: Metric, series: Iterable[Reading]) -> core.Metric:
    name = metric.name.removesuffix("_total").removesuffix("_info")
    family: Any = _FAMILIES[metric.kind](name, metric.help, labels=metric.labels)
    for labels, value in series:
        if isinstance(value, Histogram):
            family.add_metric(utf8(labels), _buckets(value), value.sum_s)
        else:
            family.add_metric(utf8(labels), {} if metric.kind == "info" else value)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, core.Exemplar]]:
    """Return the cumulative count of each bucket, and its exemplar if there is one."""
    rows: list[tuple[str, float] | tuple[str, float, core.Exemplar]] = []
    up_to = zip((*map(str, BOUNDS_S), "+Inf"), accumulate(histogram.counts), strict=True)
    for bucket, (bound, total) in enumerate(up_to):
        trace_id, seconds = histogram.traces.get(bucket, ("", 0.0))
        has_trace = 0 < len(trace_id) <= _TRACE_CHARACTERS
        rows.append((bound, total, core.Exemplar({"trace_id": trace_id}, seconds)) if has_trace else (bound, total))
    return rows


def metrics_app(
    render: Callable[[str], Awaitable[tuple[bytes, str]]], not_ready: Callable[[], str | None]
) -> Starlette:
    """Return the application of the metrics port: `/metrics`, `/healthz` and `/readyz`.

    render: returns the text of one scrape and its content type, for an `Accept` header.
    not_ready: returns why the service is not ready (`starting`, `draining`), or None if it is.
    """

    async def metrics(request: Request) -> Response:
        text, content_type = await render(request.headers.get("accept", ""))
        return Response(text, media_type=None, headers={"content-type": content_type})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        reason = not_ready()
        return PlainTextResponse("ready\n") if reason is None else PlainTextResponse(f"{reason}\n", 503)

    async def not_found(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("this port serves /metrics, /healthz and /readyz\n", 404)

    routes = [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
    return Starlette(routes=routes, exception_handlers={404: not_found})
