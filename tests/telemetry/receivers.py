"""Servers that take telemetry: one as Application Insights, one as a collector, and one that is mute."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Reply = tuple[int, str, bytes]


@contextmanager
def serving(answer: Callable[[str, dict[str, str], bytes], Reply]) -> Iterator[str]:
    """A server on this machine that answers POST requests; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, kind, data = answer(
                self.path, {name.lower(): value for name, value in self.headers.items()}, body
            )
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing to standard error."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that went away is none."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(slots=True)
class Ingestion:
    """What stands for the ingestion of Application Insights. `envelopes` are those that it took.

    `statuses` are answered one after the other, then 200. With 206 the last item of a request is refused for
    now; with 400, all for good; with 503, all for now.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[int, str, list[dict[str, Any]]]] = field(default_factory=list)
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def connection_string(self) -> str:
        return f"InstrumentationKey=12345678-1234-1234-1234-123456789abc;IngestionEndpoint={self.url}/"

    def take(self, items: list[dict[str, Any]]) -> None:
        """Take items that no request brought."""
        with self.lock:
            self.raw.append(json.dumps(items).encode())
            self.envelopes += items

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        with self.lock:
            items = json.loads(body)
            self.raw += [path.encode(), *(f"{k}: {v}".encode() for k, v in headers.items()), body]
            status = self.statuses.pop(0) if self.statuses else 200
            self.requests.append((status, path, items))
            refused = {200: [], 206: [len(items) - 1]}.get(status, list(range(len(items))))
            self.envelopes += [item for at, item in enumerate(items) if at not in refused]
            code = {206: 500}.get(status, status)
            errors = [{"index": at, "statusCode": code, "message": "refused here"} for at in refused]
            document = {
                "itemsReceived": len(items),
                "itemsAccepted": len(items) - len(refused),
                "errors": errors,
            }
            return status, "application/json", json.dumps(document).encode()

    def of(self, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        """The data of the envelopes of one kind: `EventData`, `MetricData`, `RemoteDependencyData`."""
        found = [item["data"]["baseData"] for item in self.envelopes if item["data"]["baseType"] == kind]
        return [data for data in found if name in (None, data.get("name"))]


@contextmanager
def ingesting() -> Iterator[Ingestion]:
    """An ingestion that answers."""
    found = Ingestion()
    with serving(found.answer) as url:
        found.url = url
        yield found


@dataclass(slots=True)
class Collector:
    """What stands for an OpenTelemetry collector: it reads the protocol's own messages."""

    url: str = ""
    status: int = 200
    rejected: int = 0
    spans: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    resources: list[Any] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        assert headers["content-type"] == "application/x-protobuf"
        with self.lock:
            self.raw += [*(f"{k}: {v}".encode() for k, v in headers.items()), body]
            reply = getattr(self, f"_{path.rpartition('/')[2]}")(body)
            return self.status, "application/x-protobuf", reply.SerializeToString()

    def _traces(self, body: bytes) -> Any:
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(part.resource)
            self.spans += [span for scope in part.scope_spans for span in scope.spans]
        return ExportTraceServiceResponse()

    def _metrics(self, body: bytes) -> Any:
        for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            self.resources.append(part.resource)
            self.metrics += [metric for scope in part.scope_metrics for metric in scope.metrics]
        return ExportMetricsServiceResponse()

    def _logs(self, body: bytes) -> Any:
        for part in ExportLogsServiceRequest.FromString(body).resource_logs:
            self.resources.append(part.resource)
            self.logs += [record for scope in part.scope_logs for record in scope.log_records]
        answer = ExportLogsServiceResponse()
        answer.partial_success.rejected_log_records = self.rejected
        return answer

    def span(self, name: str) -> Any:
        """The one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The attributes of the events of this name."""
        return [attributes_of(record) for record in self.logs if record.event_name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that answers."""
    found = Collector()
    with serving(found.answer) as url:
        found.url = url
        yield found


def attributes_of(record: Any) -> dict[str, Any]:
    """The attributes of anything in the protocol's messages, as plain values."""
    found = {}
    for pair in record.attributes:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = getattr(pair.value, kind)
    return found


@contextmanager
def mute() -> Iterator[str]:
    """A server that takes connections and never answers; gives its URL."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def dead() -> str:
    """The URL of a port where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"
