"""What is pushed to an OpenTelemetry collector: wired where the configuration names one, absent where it does not.

In: the telemetry settings.  Out: what the workers call with each committed pair, and the task that pushes metrics.
Holds: without `telemetry.otlp` nothing of OpenTelemetry is imported, and a pair costs one look at None.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shadowdiff import __version__
from shadowdiff.report import print_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from opentelemetry.sdk.resources import Resource
    from prometheus_client.registry import Collector

    from shadowdiff.config import TelemetryConfig
    from shadowdiff.model import Comparison, Pair
    from shadowdiff.telemetry.traces import Traces

STOP_S = 2.0
"""How long a stop waits for the collector to take what is held."""


class Exporting:
    """The exporters of one process."""

    def __init__(self, settings: TelemetryConfig, process: str) -> None:
        self._settings = settings
        self._process = process
        self._traces: Traces | None = None
        if settings.otlp is not None and settings.traces:
            from shadowdiff.telemetry.traces import Traces

            self._traces = Traces(
                endpoint=settings.otlp,
                resource=_resource(process),
                sample=settings.sample,
                queue=settings.queue,
                fingerprint=_fingerprint,
            )

    @property
    def trace(self) -> Callable[[Pair, Comparison, int], None] | None:
        """What to call with each committed pair."""
        return None if self._traces is None else self._traces.note

    def outcomes(self) -> Mapping[str, int]:
        """Return what became of the spans."""
        return {} if self._traces is None else self._traces.outcomes()

    def pushing(self, take: Callable[[], Collector]) -> Coroutine[None, None, None] | None:
        """Return what pushes the metrics until cancelled, if they are to be pushed."""
        settings = self._settings
        if settings.otlp is None or not settings.metrics:
            return None
        from shadowdiff.telemetry.otlp_metrics import MetricPush

        push = MetricPush(
            endpoint=settings.otlp, resource=_resource(self._process), every_s=settings.every_s, take=take
        )
        return push.run()

    async def stop(self) -> None:
        """Send the spans that are held, for a bounded time."""
        if self._traces is not None:
            await asyncio.to_thread(self._traces.stop, STOP_S)


def _fingerprint(pair: Pair, comparison: Comparison) -> str:
    """Return the id under which pages and API tell of the fault; empty where nothing differs."""
    found = print_of(pair, comparison)
    return "" if found is None else found.id


def _resource(process: str) -> Resource:
    """Return what says who speaks; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    own = Resource({"service.name": "shadowdiff", "service.version": __version__, "service.instance.id": process})
    sdk = Resource.create({"service.name": "shadowdiff"})
    return sdk.merge(own).merge(OTELResourceDetector().detect())
