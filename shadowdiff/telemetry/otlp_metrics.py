"""The metrics of a scrape, pushed by OTLP over HTTP.

In: the families that `/metrics` is written from.  Out: one export at a time, in a thread, on a period.
Holds: imported only where an endpoint is configured; names, labels and figures are those of `/metrics`, so that a
dashboard serves either way; a collector that is away costs the exports that it misses, since sums are cumulative.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from shadowdiff import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 5.0
LAST_S: Final = 2.0
"""What the push at the end gets."""
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


class MetricPush:
    """Pushes all metrics every `every_s`."""

    def __init__(self, *, endpoint: str, resource: Resource, every_s: float, take: Callable[[], Collector]) -> None:
        self._resource = resource
        self._every_s = every_s
        self._take = take
        self._began_ns = time.time_ns()
        # Any: the SDK leaves the types of its own keyword arguments open
        self._exporter: Any = OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", timeout=TIMEOUT_S)

    async def run(self) -> None:
        """Push until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.push()
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.push(), LAST_S)
            self._exporter.shutdown()

    async def push(self) -> None:
        """Take all figures of now on the loop, and send them in a thread."""
        taken = self._take()
        if not await asyncio.to_thread(self._send, taken, time.time_ns()):
            log.warning("the collector did not take the metrics; the next push says all again")

    def _send(self, taken: Collector, now_ns: int) -> bool:
        metrics = [self._metric(family, now_ns) for family in taken.collect()]
        scope = ScopeMetrics(InstrumentationScope("shadowdiff", __version__), metrics, "")
        answer = self._exporter.export(MetricsData([ResourceMetrics(self._resource, [scope], "")]))
        return answer is MetricExportResult.SUCCESS

    def _metric(self, family: Family, now_ns: int) -> Metric:
        """Return a family as OTLP has it; an info is a gauge of 1, as in Prometheus."""
        match family.type:
            case "counter":
                points = self._points(family, "_total", now_ns)
                return _named(family, "_total", Sum(points, _CUMULATIVE, is_monotonic=True))
            case "histogram":
                return _named(family, "", Histogram(self._distributions(family, now_ns), _CUMULATIVE))
            case "info":
                return _named(family, "_info", Gauge(self._points(family, "_info", now_ns)))
            case _:
                return _named(family, "", Gauge(self._points(family, "", now_ns)))

    def _points(self, family: Family, suffix: str, now_ns: int) -> list[NumberDataPoint]:
        return [
            NumberDataPoint(dict(sample.labels), self._began_ns, now_ns, sample.value)
            for sample in family.samples
            if sample.name == family.name + suffix
        ]

    def _distributions(self, family: Family, now_ns: int) -> list[HistogramDataPoint]:
        rows: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        for sample in family.samples:
            labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
            row = rows.setdefault(labels, {"buckets": [], "sum": 0.0})
            if sample.name.endswith("_bucket"):
                row["buckets"].append((float(sample.labels["le"]), int(sample.value)))
            elif sample.name.endswith("_sum"):
                row["sum"] = sample.value
        return [self._distribution(dict(labels), row["buckets"], row["sum"], now_ns) for labels, row in rows.items()]

    def _distribution(
        self, labels: dict[str, str], buckets: list[tuple[float, int]], total: float, now_ns: int
    ) -> HistogramDataPoint:
        """Return the counts of each bucket: Prometheus has them cumulative, OTLP apart."""
        up_to = [0, *(count for _, count in buckets)]
        nobody_knows = cast("float", None)  # the least and the most: optional in OTLP, not in the SDK's type
        return HistogramDataPoint(
            attributes=labels,
            start_time_unix_nano=self._began_ns,
            time_unix_nano=now_ns,
            count=up_to[-1],
            sum=total,
            bucket_counts=[after - before for before, after in pairwise(up_to)],
            explicit_bounds=[bound for bound, _ in buckets[:-1]],
            min=nobody_knows,
            max=nobody_knows,
        )


def _named(family: Family, suffix: str, figures: Sum | Gauge | Histogram) -> Metric:
    unit = "s" if family.name.endswith("_seconds") else ""
    return Metric(family.name + suffix, family.documentation, unit, figures)
