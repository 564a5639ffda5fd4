"""A real OTLP receiver over HTTP on a free port. OpenTelemetry's own classes decode the received protobuf."""

from __future__ import annotations

import contextlib
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Generator


class Collector:
    """The received data: spans in order, and the latest value of each metric."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resources: list[dict[str, Any]] = []
        self.port = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Return the value for `telemetry.otlp`."""
        return f"http://127.0.0.1:{self.port}"

    def take(self, path: str, body: bytes) -> bytes | None:
        """Accept one export request and return the response, or None if the path is unknown."""
        with self._lock:
            if path == "/v1/traces":
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.resources.append(attributes(group.resource))
                    self.spans += [span for scope in group.scope_spans for span in scope.spans]
                return ExportTraceServiceResponse().SerializeToString()
            if path == "/v1/metrics":
                for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    self.resources.append(attributes(group.resource))
                    self.metrics |= {one.name: one for scope in group.scope_metrics for one in scope.metrics}
                return ExportMetricsServiceResponse().SerializeToString()
        return None


def attributes(holder: Any) -> dict[str, Any]:
    """Return the attributes of a resource, span, link or data point as plain values."""
    return {one.key: _plain(one.value) for one in holder.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@contextlib.contextmanager
def collecting() -> Generator[Collector]:
    """Run a collector, and yield it when the collector listens."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            answer = collector.take(self.path, body)
            self.send_response(404 if answer is None else 200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer or b"")))
            self.end_headers()
            self.wfile.write(answer or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's own name)
            """Suppress the server's log lines."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
