"""Export spans and metrics to an OpenTelemetry collector if one is configured.

Without `telemetry.otlp`, OpenTelemetry is not imported, and tracing costs one comparison with None per pair.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shadowdiff import __version__
from shadowdiff.report import print_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.resources import Resource
    from prometheus_client.registry import Collector

    from shadowdiff.config import TelemetryConfig
    from shadowdiff.model import Comparison, Pair
    from shadowdiff.telemetry.traces import Traces

STOP_S = 2.0
"""How long a stop waits for the collector to accept the queued spans."""


class OtlpExport:
    """The exporters of one process."""

    def __init__(self, settings: TelemetryConfig, process: str) -> None:
        self._settings = settings
        self._process = process
        self._traces: Traces | None = None
        if settings.otlp is not None and settings.traces:
            from shadowdiff.telemetry.traces import Traces

            resource, sample, queue = _resource(process), settings.sample, settings.queue
            self._traces = Traces(
                endpoint=settings.otlp, resource=resource, sample=sample, queue=queue, fingerprint=_fingerprint
            )

    @property
    def trace(self) -> Callable[[Pair, Comparison, int], None] | None:
        """The function to call for each committed pair; None if spans are disabled."""
        return None if self._traces is None else self._traces.note

    def outcomes(self) -> Mapping[str, int]:
        """Return the number of spans by outcome."""
        return {} if self._traces is None else self._traces.outcomes()

    async def push(self, take: Callable[[], Collector]) -> None:
        """Push the metrics until cancelled; return immediately if the push is disabled."""
        settings = self._settings
        if settings.otlp is None or not settings.metrics:
            return
        from shadowdiff.telemetry.otlp_metrics import MetricPush

        resource, every_s = _resource(self._process), settings.interval_s
        await MetricPush(endpoint=settings.otlp, resource=resource, every_s=every_s, take=take).run()

    async def stop(self) -> None:
        """Send the queued spans, until a time limit."""
        if self._traces is not None:
            await asyncio.to_thread(self._traces.stop, STOP_S)


def _fingerprint(pair: Pair, comparison: Comparison) -> str:
    found = print_of(pair, comparison)
    return "" if found is None else found.id


def _resource(process: str) -> Resource:
    """Return the resource attributes; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    own = Resource({"service.name": "shadowdiff", "service.version": __version__, "service.instance.id": process})
    sdk = Resource.create({"service.name": "shadowdiff"})
    return sdk.merge(own).merge(OTELResourceDetector().detect())
