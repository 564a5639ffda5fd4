"""Push the metrics of `/metrics` with OTLP over HTTP, one export at a time, in a thread.

This module is imported only if an endpoint is configured. Names and labels are the same as in `/metrics`, so a
dashboard works with both. Sums are cumulative, so an outage of the collector only reduces the time resolution.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shadowdiff import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 5.0
LAST_S: Final = 2.0
"""The timeout of the last push, when the service stops."""
_CUMULATIVE: Final = export.AggregationTemporality.CUMULATIVE
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}


class MetricPush:
    """Pushes all metrics every `every_s` seconds."""

    def __init__(self, *, endpoint: str, resource: Resource, every_s: float, take: Callable[[], Collector]) -> None:
        self._resource = resource
        self._every_s = every_s
        self._take = take
        self._began_ns = time.time_ns()
        # Any: the SDK does not type its keyword arguments
        self._exporter: Any = OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", timeout=TIMEOUT_S)

    async def run(self) -> None:
        """Push until cancelled, then push one last time."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.push()
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.push(), LAST_S)
            self._exporter.shutdown()

    async def push(self) -> None:
        """Read all metrics on the event loop, and send them in a thread."""
        taken = self._take()
        if not await asyncio.to_thread(self._send, taken, time.time_ns()):
            log.warning("metrics export failed; will retry")

    def _send(self, taken: Collector, now_ns: int) -> bool:
        metrics = [self._metric(family, now_ns) for family in taken.collect()]
        scope = export.ScopeMetrics(InstrumentationScope("shadowdiff", __version__), metrics, "")
        result = self._exporter.export(export.MetricsData([export.ResourceMetrics(self._resource, [scope], "")]))
        return result is export.MetricExportResult.SUCCESS

    def _metric(self, family: Metric, now_ns: int) -> export.Metric:
        """Return a metric family in OTLP form; an info metric is a gauge with the value 1, as in Prometheus."""
        name = family.name + _SUFFIXES.get(family.type, "")
        points = [
            export.NumberDataPoint(dict(sample.labels), self._began_ns, now_ns, sample.value)
            for sample in family.samples
            if sample.name == name
        ]
        data = export.Gauge(points)
        if family.type == "histogram":
            data = export.Histogram(self._distributions(family, now_ns), _CUMULATIVE)
        elif family.type == "counter":
            data = export.Sum(points, _CUMULATIVE, is_monotonic=True)
        return export.Metric(name, family.documentation, "s" if family.name.endswith("_seconds") else "", data)

    def _distributions(self, family: Metric, now_ns: int) -> list[export.HistogramDataPoint]:
        """Return the count of each bucket; counts are cumulative in Prometheus, but not in OTLP."""
        up_to: defaultdict[tuple[tuple[str, str], ...], dict[float, int]] = defaultdict(dict)
        sums: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in family.samples:
            labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
            if sample.name.endswith("_bucket"):
                up_to[labels][float(sample.labels["le"])] = int(sample.value)
            elif sample.name.endswith("_sum"):
                sums[labels] = sample.value
        unknown = cast("float", None)  # min and max are optional in OTLP, but not in the SDK's types
        return [
            export.HistogramDataPoint(
                attributes=dict(labels),
                start_time_unix_nano=self._began_ns,
                time_unix_nano=now_ns,
                count=max(counts.values()),
                sum=sums[labels],
                bucket_counts=[after - before for before, after in pairwise((0, *counts.values()))],
                explicit_bounds=list(counts)[:-1],
                min=unknown,
                max=unknown,
            )
            for labels, counts in up_to.items()
        ]
