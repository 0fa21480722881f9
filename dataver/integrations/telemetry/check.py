"""One event, sent while the caller waits, and what the server said to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError
from dataver.integrations.telemetry.providers import azure_options, make_resource, missing, quiet, silence
from dataver.integrations.telemetry.setting import AZURE_MONITOR, CONSOLE
from dataver.values import dataclass

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk._logs.export import LogRecordExporter

__all__ = ["Answer", "ask"]

WAIT_S_MAX = 10.0
ANSWER_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the event. `status` is that of HTTP, None where there was no answer."""

    arrived: bool
    status: int | None
    text: str
    seconds: float


@dataclass(slots=True)
class Heard:
    """The last answer of the server."""

    status: int | None = None
    body: bytes = b""


def ask(exporter: str) -> Answer:
    """Send the event `dataver.telemetry.check` with an exporter, and wait for an answer, ten seconds at most.

    `MissingExtraError` and `BadInputError` where it cannot be sent.
    """
    heard = Heard()
    try:
        silence()
        sender = _sender(exporter, heard)
        batch = _event(exporter)
    except ImportError as error:
        raise missing(exporter, error) from error
    except ValueError as error:  # the exporter's own, of a connection string that is none
        raise BadInputError(f"telemetry cannot be sent: {error}") from error
    started = time.monotonic()
    results: list[Any] = []
    # It may wait for a server longer than anybody wants to.
    thread = threading.Thread(target=_send, args=(sender.export, batch, results), daemon=True)
    thread.start()
    thread.join(WAIT_S_MAX)
    seconds = time.monotonic() - started
    if not results:
        return Answer(False, heard.status, f"no answer within {WAIT_S_MAX:.0f} s", seconds)
    said = _said(heard)
    if isinstance(results[0], Exception):
        return Answer(False, heard.status, f"{type(results[0]).__name__} {said}".rstrip(), seconds)
    arrived = results[0].name == "SUCCESS" and _taken(exporter, heard)
    nothing = "written" if arrived else "nobody answers"
    return Answer(arrived, heard.status, said or nothing, seconds)


def _send(
    export: Callable[[Sequence[ReadableLogRecord]], Any],
    batch: Sequence[ReadableLogRecord],
    results: list[Any],
) -> None:
    try:
        results.append(export(batch))
    except Exception as error:  # noqa: BLE001 - it is the answer
        results.append(error)


def _sender(exporter: str, heard: Heard) -> LogRecordExporter:
    if exporter == AZURE_MONITOR:
        options = azure_options(WAIT_S_MAX)
        from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter

        def hear(response: Any) -> None:
            heard.status = response.http_response.status_code
            heard.body = response.http_response.body()

        with quiet():
            found: LogRecordExporter = AzureMonitorLogExporter(
                disable_offline_storage=True, raw_response_hook=hear, **options
            )
        return found
    if exporter == CONSOLE:
        import sys

        from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

        return ConsoleLogRecordExporter(
            out=sys.stderr, formatter=lambda record: f"{record.to_json(indent=None)}\n"
        )
    import requests
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    def note(response: Any, *_: Any, **__: Any) -> None:
        heard.status, heard.body = response.status_code, response.content

    session = requests.Session()
    session.hooks["response"].append(note)
    return OTLPLogExporter(session=session, timeout=WAIT_S_MAX)


def _event(exporter: str) -> Sequence[ReadableLogRecord]:
    """The event, as the exporter takes it."""
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    import dataver
    from dataver.integrations.telemetry.names import SCOPE, event_name

    name = event_name("telemetry.check")
    kept = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=make_resource(exporter), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    provider.get_logger(SCOPE, dataver.__version__).emit(
        LogRecord(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.INFO,
            body=name,
            attributes={"microsoft.custom_event.name": name},
            event_name=name,
        )
    )
    found: Sequence[ReadableLogRecord] = kept.get_finished_logs()
    return found


def _taken(exporter: str, heard: Heard) -> bool:
    """Whether the answer says that the event was taken, and not only the request."""
    if exporter == CONSOLE:
        return True
    if exporter == AZURE_MONITOR:
        return bool(_document(heard).get("itemsAccepted", 0) == 1)
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    try:
        answer = ExportLogsServiceResponse.FromString(heard.body)
    except Exception:  # noqa: BLE001 - a receiver may answer with no body of the protocol
        return True
    return not answer.partial_success.rejected_log_records


def _document(heard: Heard) -> dict[str, Any]:
    try:
        found = json.loads(heard.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _said(heard: Heard) -> str:
    """The answer in a line; empty where there was none."""
    if heard.status is None:
        return ""
    document = _document(heard)
    told = [f"HTTP {heard.status}"]
    if "itemsReceived" in document:
        told.append(f"{document.get('itemsAccepted')} of {document['itemsReceived']} items accepted")
        errors = document.get("errors") or []
        told += [str(error.get("message", "")) for error in errors if isinstance(error, dict)]
    return ", ".join(filter(None, told))[:ANSWER_CHARACTERS_MAX]
