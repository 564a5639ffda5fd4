"""One span per comparison, linked to the spans of v1's and v2's requests, exported by OTLP over HTTP.

In: committed pairs with their comparisons.  Out: spans, in batches, from a thread of the SDK's.
Holds: imported only where an endpoint is configured; nothing waits for the collector; at most `queue` spans are
held, and what a slow or dead collector leaves no room for is dropped before it is made, and counted.
A comparison comes after the fact and belongs to two requests at once, so its span begins a trace of its own.
Source: OpenTelemetry semantic conventions for HTTP spans.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from shadowdiff import __version__
from shadowdiff.model import Result
from shadowdiff.telemetry.context import TraceContext, trace_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from shadowdiff.model import Comparison, Observation, Pair

    Fingerprint = Callable[[Pair, Comparison], str]

BATCH: Final = 512
EVERY_MS: Final = 1000
TIMEOUT_S: Final = 5.0
"""Of one export with its repetitions."""
_TEXT_MOST: Final = 256
_SPAN_OF_64_BITS: Final = 1 << 64

Sample = float | Literal["parent"]
"""The share of comparisons that have a span, or `parent`: those whose request was sampled where it came from."""


class Traces:
    """Makes the spans and has them sent. `outcomes` says what became of them."""

    def __init__(
        self, *, endpoint: str, resource: Resource, sample: Sample, queue: int, fingerprint: Fingerprint
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

    def __repr__(self) -> str:
        """State what became of the spans."""
        return f"<Traces {self.outcomes()}>"

    def outcomes(self) -> dict[str, int]:
        """Return how many spans the collector took, how many it did not, and how many had no room."""
        return {"exported": self._exporter.exported, "failed": self._exporter.failed, "dropped": self._dropped}

    def note(self, pair: Pair, comparison: Comparison, now_ns: int) -> None:
        """Make the span of one committed pair, where it is sampled and there is room for it."""
        sides = (pair.primary, pair.candidate)
        contexts = [trace_context(side.request_headers) for side in sides]
        if not self._wanted(pair.key, contexts):
            return
        if self._begun - self._exporter.exported - self._exporter.failed >= self._queue:
            self._dropped += 1
            return
        self._begun += 1
        span = self._tracer.start_span(
            f"compare {pair.route}",
            context=Context(),
            kind=SpanKind.INTERNAL,
            attributes=self._attributes(pair, comparison),
            links=[
                Link(_span_context(context), _of_side(side))
                for side, context in zip(sides, contexts, strict=True)
                if context is not None
            ],
            start_time=max(pair.primary.at_ms, pair.candidate.at_ms) * 1_000_000,
        )
        span.end(now_ns)

    def stop(self, within_s: float) -> None:
        """Send what is held for at most `within_s`, then send nothing more. Blocks: call it in a thread."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True, name="spans-end")
        ending.start()
        ending.join(within_s)
        self._exporter.shutdown()

    def _wanted(self, key: bytes, contexts: Iterable[TraceContext | None]) -> bool:
        if isinstance(self._sample, str):
            return any(context is not None and context.sampled for context in contexts)
        return drawn(key, self._sample)

    def _attributes(self, pair: Pair, comparison: Comparison) -> dict[str, Any]:
        """Return what the span says: route and method by HTTP's conventions, the rest under the product's own name.

        No path, query, header or body: a span's attributes come to rest where nobody redacts them.
        """
        counted = [one for one in comparison.differences if one.rule is None]
        found: dict[str, Any] = {
            "http.request.method": pair.primary.method,
            "http.route": pair.route.partition(" ")[2] or pair.route,
            "http.response.status_code": pair.primary.status,
            "server.address": pair.primary.host[:_TEXT_MOST],
            "shadowdiff.target": pair.target,
            "shadowdiff.result": str(comparison.result),
            "shadowdiff.differences": len(counted) + comparison.unlisted,
            "shadowdiff.kinds": sorted({str(one.kind) for one in counted}),
        }
        if comparison.reason:
            found["shadowdiff.reason"] = comparison.reason[:_TEXT_MOST]
        if comparison.result is Result.MISMATCH and (fingerprint := self._fingerprint(pair, comparison)):
            found["shadowdiff.fingerprint"] = fingerprint
        return found


def drawn(key: bytes, share: float) -> bool:
    """Return whether a pair is in the share that has spans: keys are digests, so their first bytes are a fair draw."""
    return int.from_bytes(key[:8], "big") < share * _SPAN_OF_64_BITS


def _span_context(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _of_side(side: Observation) -> dict[str, str | int]:
    found: dict[str, str | int] = {"shadowdiff.side": str(side.side), "http.response.status_code": side.status}
    if side.failure is not None:
        del found["http.response.status_code"]
        found["error.type"] = str(side.failure)
    return found


class _Counting(SpanExporter):
    """The exporter, with counts of what came of it. The SDK calls it in one thread at a time."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._stopped = False
        self.exported = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.exported += len(spans)
            else:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._exporter.shutdown()
