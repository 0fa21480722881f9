"""OpenTelemetry's SDK as the command line sets it up: private providers, and an end that is soon.

They are not made those of the process, which a program around may have set up for itself. What an exporter
has to say of its failures is for `dataver telemetry check`: nothing of it reaches standard error.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, MissingExtraError
from dataver.integrations.telemetry.setting import (
    AZURE_MONITOR,
    CONNECTION_VARIABLE,
    CONSOLE,
    EXTRAS,
    end_s_max,
)
from dataver.values import dataclass

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["SdkProviders", "azure_options", "make_providers", "quiet", "silence"]

REQUEST_SHARE = 0.75
"""Of the time that the end waits, a request's; what was not taken by then is kept for a later command."""
REQUEST_S_MIN = 0.1
QUIET = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "True",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "True",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "True",
}
"""The exporter's statistics of itself, and its look for instructions, would be requests of their own.

It asks for these variables when it is made; programs that are started later are not to have them.
"""


@dataclass(frozen=True, slots=True)
class Exporters:
    """One for each kind of signal."""

    spans: SpanExporter
    metrics: MetricExporter
    logs: LogRecordExporter


class SdkProviders:
    """Where spans, metrics and events go, until `close`."""

    def __init__(
        self, tracers: TracerProvider, meters: MeterProvider, loggers: LoggerProvider, end_s_max: float
    ) -> None:
        self._end_s_max = end_s_max
        self.tracers = tracers
        self.meters = meters
        self.loggers = loggers
        self._closing = threading.Event()
        # A request that hangs is left behind: a daemon does not hold the process up. They wait from the
        # beginning, as none can be started while the interpreter ends.
        self._enders = [
            threading.Thread(target=self._end, args=(provider.shutdown,), daemon=True)
            for provider in (loggers, tracers, meters)
        ]
        for ender in self._enders:
            ender.start()

    def close(self) -> bool:
        """Send what waits, for `end_s_max` at most; whether all was handed over. Raises nothing."""
        deadline = time.monotonic() + self._end_s_max
        self._closing.set()
        for ender in self._enders:
            ender.join(max(deadline - time.monotonic(), 0))
        return not any(ender.is_alive() for ender in self._enders)

    def _end(self, shutdown: Callable[[], object]) -> None:
        self._closing.wait()
        with suppress(Exception):  # no exporter's failure is one of the command
            shutdown()


def make_providers(exporter: str) -> SdkProviders:
    """Providers that send with this exporter. `MissingExtraError`, `BadInputError` where that cannot be."""
    seconds = end_s_max()
    silence()  # before the SDK is imported, which reads variables then and has something to say of them
    try:
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = make_resource(exporter)
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        made = make_exporters(exporter, tracers, max(seconds * REQUEST_SHARE, REQUEST_S_MIN))
    except ImportError as error:
        raise missing(exporter, error) from error
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    if _wanted("OTEL_TRACES_EXPORTER"):
        tracers.add_span_processor(BatchSpanProcessor(made.spans))
    if _wanted("OTEL_LOGS_EXPORTER"):
        loggers.add_log_record_processor(BatchLogRecordProcessor(made.logs))
    readers = [PeriodicExportingMetricReader(made.metrics)] if _wanted("OTEL_METRICS_EXPORTER") else []
    meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    return SdkProviders(tracers, meters, loggers, seconds)


def _wanted(variable: str) -> bool:
    """Whether a kind of signal is sent: OpenTelemetry has a variable for each that can say `none`."""
    return os.environ.get(variable, "").strip().lower() != "none"


def missing(exporter: str, error: ImportError) -> MissingExtraError:
    """What to install for an exporter."""
    return MissingExtraError(
        f"DATAVER_TELEMETRY={exporter} needs what is not installed, or too old ({error.name or error}): "
        f"pip install --upgrade 'dataver[{EXTRAS[exporter]}]'"
    )


def make_resource(exporter: str) -> Resource:
    """Who sends: the program and the machine, and what `OTEL_RESOURCE_ATTRIBUTES` adds."""
    import platform

    from opentelemetry.sdk.resources import Resource

    import dataver

    own = {"service.version": dataver.__version__, "host.name": platform.node()}
    if exporter == AZURE_MONITOR:
        own["service.instance.id"] = platform.node()  # the role instance, where people look for the machine
    if not os.environ.get("OTEL_SERVICE_NAME"):
        own["service.name"] = "dataver"
    return Resource.create(own)


def make_exporters(exporter: str, tracers: TracerProvider, request_s_max: float) -> Exporters:
    """The exporters of one kind."""
    if exporter == AZURE_MONITOR:
        return _azure_monitor(tracers, request_s_max)
    return _console() if exporter == CONSOLE else _otlp()


def _console() -> Exporters:
    from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    def line(record: Any) -> str:
        return f"{record.to_json(indent=None)}\n"

    # Standard output is for the document or the lines that were asked for.
    return Exporters(
        ConsoleSpanExporter(out=sys.stderr, formatter=line),
        ConsoleMetricExporter(out=sys.stderr, formatter=line),
        ConsoleLogRecordExporter(out=sys.stderr, formatter=line),
    )


def _otlp() -> Exporters:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Exporters(OTLPSpanExporter(), OTLPMetricExporter(), OTLPLogExporter())


def _azure_monitor(tracers: TracerProvider, request_s_max: float) -> Exporters:
    options = azure_options(request_s_max) | {"storage_directory": _waiting_folder()}
    from azure.monitor.opentelemetry.exporter import (
        AzureMonitorLogExporter,
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    _complete_models()
    with quiet():
        return Exporters(
            AzureMonitorTraceExporter(tracer_provider=tracers, **options),
            AzureMonitorMetricExporter(**options),
            AzureMonitorLogExporter(**options),
        )


def _complete_models() -> None:
    """Make one of each of the exporter's models, here and not on three threads at once.

    Such a class completes itself, under no lock, when the first of it is made. Two threads that do so
    together fail with `RuntimeError`, or read an answer as a plain `dict`, and what they were to send is
    lost: of one command in some hundreds. A release that has its models elsewhere is left as it is.
    """
    with suppress(ImportError, AttributeError, TypeError):
        from azure.monitor.opentelemetry.exporter._generated.exporter import models

        for name in models.__all__:
            model = getattr(models, name)
            if getattr(model, "_is_model", False):
                model()


@contextmanager
def quiet() -> Iterator[None]:
    """Where the exporter of Azure Monitor is made: it then sends what it is given, and nothing of itself."""
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def azure_options(seconds_max: float) -> dict[str, Any]:
    """How the exporter speaks to Application Insights. `BadInputError` where it is not told to which.

    It does not repeat by itself: what is not taken is kept, and repeating would outlast the command.
    """
    text = os.environ.get(CONNECTION_VARIABLE, "").strip()
    if not text:
        raise BadInputError(
            f"DATAVER_TELEMETRY=azuremonitor needs {CONNECTION_VARIABLE}: copy the connection string from "
            "the overview of the Application Insights resource"
        )
    if "instrumentationkey=" not in text.lower().replace(" ", ""):
        raise BadInputError(
            f"{CONNECTION_VARIABLE} has no InstrumentationKey: copy the whole connection string"
        )
    return {
        "connection_string": text,
        "timeout": seconds_max,
        "read_timeout": seconds_max,
        "retry_total": 0,
    }


def _waiting_folder() -> str:
    """Where the exporter keeps what it could not send, for this user alone."""
    from dataver.config import cache_folder
    from dataver.private import make_folder

    folder = cache_folder() / "telemetry"
    make_folder(folder)
    return str(folder)


def silence() -> None:
    """Have the loggers of exporters write nowhere, unless the program around has somewhere for them."""
    for name in ("opentelemetry", "azure.monitor", "azure.core", "azure.identity"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
