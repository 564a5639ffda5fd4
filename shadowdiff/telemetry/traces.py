"""Export one span per comparison with OTLP over HTTP, linked to the spans of v1's and v2's requests.

A comparison happens after both requests and belongs to both, so its span is the root of a new trace. Imported only if
an endpoint is set. Nothing waits for the collector: `queue` limits the waiting spans; others are dropped.
Source: OpenTelemetry semantic conventions for HTTP spans.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from shadowdiff import __version__
from shadowdiff.model import Result
from shadowdiff.telemetry.trace_context import TraceContext, trace_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from shadowdiff.model import Comparison, Observation, Pair

BATCH: Final = 512
EVERY_MS: Final = 1000
TIMEOUT_S: Final = 5.0
"""The timeout of one export, including its retries."""
_MAX_TEXT: Final = 256


class Traces:
    """Creates and exports spans. sample: a share of comparisons, or `parent` if the request's own sampling decides."""

    def __init__(
        self,
        *,
        endpoint: str,
        resource: Resource,
        sample: float | Literal["parent"],
        queue: int,
        fingerprint: Callable[[Pair, Comparison], str],
    ) -> None:
        self._sample = sample
        self._queue = queue
        self._fingerprint = fingerprint
        self._begun = 0
        self._dropped = 0
        self._exporter = _Counting(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=TIMEOUT_S))
        self._provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
        processor = BatchSpanProcessor(self._exporter, queue, EVERY_MS, min(BATCH, queue))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("shadowdiff", __version__)

    def outcomes(self) -> dict[str, int]:
        """Return the numbers of exported, failed and dropped spans."""
        counts = self._exporter.counts
        exported, failed = counts[SpanExportResult.SUCCESS], counts[SpanExportResult.FAILURE]
        return {"exported": exported, "failed": failed, "dropped": self._dropped}

    def note(self, pair: Pair, comparison: Comparison, now_ns: int) -> None:
        """Create the span of a committed pair if it is sampled and the queue is not full."""
        sides = (pair.primary, pair.candidate)
        contexts = [trace_context(side.request_headers) for side in sides]
        by_parent = any(context is not None and context.sampled for context in contexts)
        if not (by_parent if isinstance(self._sample, str) else drawn(pair.key, self._sample)):
            return
        if self._begun - self._exporter.counts.total() >= self._queue:
            self._dropped += 1
            return
        self._begun += 1
        span = self._tracer.start_span(
            f"compare {pair.route}",
            context=Context(),
            kind=SpanKind.INTERNAL,
            attributes=self._attributes(pair, comparison),
            links=[
                Link(_span_context(context), _side_attributes(side))
                for side, context in zip(sides, contexts, strict=True)
                if context is not None
            ],
            start_time=max(pair.primary.at_ms, pair.candidate.at_ms) * 1_000_000,
        )
        span.end(now_ns)

    def stop(self, within_s: float) -> None:
        """Export the queued spans for at most `within_s`, then stop. This method blocks, so call it in a thread."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True, name="spans-end")
        ending.start()
        ending.join(within_s)
        self._exporter.shutdown()

    def _attributes(self, pair: Pair, comparison: Comparison) -> dict[str, Any]:
        """Return the span's attributes, without path, query, headers and body: the collector does not redact them."""
        counted = [one for one in comparison.differences if one.rule is None]
        found: dict[str, Any] = {
            "http.request.method": pair.primary.method,
            "http.route": pair.route.partition(" ")[2] or pair.route,
            "http.response.status_code": pair.primary.status,
            "server.address": pair.primary.host[:_MAX_TEXT],
            "shadowdiff.target": pair.target,
            "shadowdiff.result": str(comparison.result),
            "shadowdiff.differences": len(counted) + comparison.unlisted,
            "shadowdiff.kinds": sorted({str(one.kind) for one in counted}),
        }
        if comparison.reason:
            found["shadowdiff.reason"] = comparison.reason[:_MAX_TEXT]
        if comparison.result is Result.MISMATCH and (fingerprint := self._fingerprint(pair, comparison)):
            found["shadowdiff.fingerprint"] = fingerprint
        return found


def drawn(key: bytes, share: float) -> bool:
    """Return whether a pair is in the share that gets spans. Keys are digests, so their first bytes are random."""
    return int.from_bytes(key[:8], "big") < share * 2**64


def _span_context(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _side_attributes(side: Observation) -> dict[str, str | int]:
    if side.failure is not None:
        return {"shadowdiff.side": str(side.side), "error.type": str(side.failure)}
    return {"shadowdiff.side": str(side.side), "http.response.status_code": side.status}


class _Counting(SpanExporter):
    """The exporter, with counts of its results. The SDK calls it in only one thread at a time."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._stopped = False
        self.counts = Counter[SpanExportResult]()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.counts[result] += len(spans)
        return result

    def shutdown(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._exporter.shutdown()
