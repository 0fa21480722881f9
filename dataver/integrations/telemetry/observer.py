"""What observes operations and runs, and tells OpenTelemetry of them. It needs no more than its API.

The providers are those that are given, else those of the program. A span's parent is the one that is current
in the program, else the run that is on, else what the environment says in `TRACEPARENT`. While a run is on,
`TRACEPARENT` names its span, for the processes that it starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.metrics import get_meter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import dataver
from dataver import recording
from dataver.integrations.telemetry.facts import Attributes, Facts, facts_after, facts_before, facts_failed
from dataver.integrations.telemetry.names import METRICS, SCOPE, event_name, span_name
from dataver.values import dataclass

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, SpanContext, TracerProvider

    from dataver.running import Run

__all__ = ["TRACE_VARIABLES", "OpenTelemetryObserver", "Providers"]

TRACE_VARIABLES = ("TRACEPARENT", "TRACESTATE")
_PROPAGATOR = TraceContextTextMapPropagator()
DURATIONS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200)
"""The bounds of the buckets of a histogram."""
_DURATION = "dataver.operation.duration"


class Providers(Protocol):
    """Where spans, metrics and events go."""

    @property
    def tracers(self) -> TracerProvider:
        """Where spans go."""

    @property
    def meters(self) -> MeterProvider:
        """Where metrics go."""

    @property
    def loggers(self) -> LoggerProvider:
        """Where events go."""


@dataclass(slots=True)
class Begun:
    """An operation that is under way."""

    operation: str
    arguments: Mapping[str, Any]
    span: Span
    token: Any
    started: float


@dataclass(slots=True)
class OpenRun:
    """A run that is on. `outer` is the span that was current when it began, `before` the environment then."""

    span: Span
    outer: SpanContext
    started: float
    before: dict[str, str | None]


class OpenTelemetryObserver:
    """See `dataver.progress.Observer`; it also hears of runs. For several threads."""

    def __init__(self, providers: Providers | None = None) -> None:
        """`providers` are OpenTelemetry's own where none are given."""
        release = dataver.__version__
        self._tracer = trace.get_tracer(SCOPE, release, providers.tracers if providers else None)
        self._logger = get_logger(SCOPE, release, providers.loggers if providers else None)
        meter = get_meter(SCOPE, release, providers.meters if providers else None)
        make = {
            "counter": meter.create_counter,
            "gauge": meter.create_gauge,
            "histogram": partial(meter.create_histogram, explicit_bucket_boundaries_advisory=DURATIONS_S),
        }
        made = {name: make[kind](name, unit, text) for name, (kind, unit, text) in METRICS.items()}
        self._record = {
            name: getattr(
                instrument, {"counter": "add", "gauge": "set", "histogram": "record"}[METRICS[name][0]]
            )
            for name, instrument in made.items()
        }
        self._runs: dict[str, OpenRun] = {}

    # Operations

    def began(self, operation: str, arguments: Mapping[str, Any]) -> Begun:
        """Begin a span, within which all is until `ended`."""
        return self.begin(operation, facts_before(arguments), arguments)

    def begin(
        self, operation: str, attributes: Attributes, arguments: Mapping[str, Any] | None = None
    ) -> Begun:
        """The same with attributes that are known."""
        run = recording.active
        if run is not None:
            attributes = {"dataver.run.id": run.run, **attributes}
        parent = self._parent()
        span = self._tracer.start_span(span_name(operation), parent, attributes=attributes)
        token = contexts.attach(trace.set_span_in_context(span, parent))
        return Begun(operation, arguments or {}, span, token, time.monotonic())

    def ended(self, begun: Begun | None, result: Any, error: BaseException | None) -> None:
        """End the span, and tell what came of it."""
        if begun is None:
            return
        if error is None:
            self._end(begun, lambda: facts_after(begun.operation, begun.arguments, result), failed=False)
        else:
            self._end(begun, lambda: facts_failed(begun.arguments, error), failed=True)

    def finish(self, begun: Begun, attributes: Attributes, *, failed: bool) -> None:
        """The same for an operation of which all is known."""
        self._end(begun, lambda: Facts(attributes), failed=failed)

    def _end(self, begun: Begun, facts: Callable[[], Facts], *, failed: bool) -> None:
        try:
            self._tell(begun.operation, begun.span, begun.started, facts(), failed)
        finally:
            contexts.detach(begun.token)
            begun.span.end()

    # Runs, as `dataver.events` tells of them

    def run_started(self, run: Run) -> None:
        """Begin the span of a run."""
        from dataver.integrations.telemetry.run_facts import run_started

        outer = trace.get_current_span().get_span_context()
        span = self._tracer.start_span(span_name("run"), self._parent(), attributes=run_started(run))
        before = {name: os.environ.get(name) for name in TRACE_VARIABLES}
        self._runs[run.id] = OpenRun(span, outer, time.monotonic(), before)
        if span.get_span_context().is_valid:
            os.environ.update(trace_variables(span))

    def run_ended(self, run: Run) -> None:
        """End it, and tell what the run read and made."""
        from dataver.integrations.telemetry.run_facts import run_ended

        opened = self._runs.pop(run.id, None)
        if opened is None:
            return
        for name, value in opened.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        facts = run_ended(run)
        failed = facts.attributes.get("dataver.run.status") != "done"
        self._tell("run", opened.span, opened.started, facts, failed)
        opened.span.end()

    # What is told

    def _tell(self, operation: str, span: Span, started: float, facts: Facts, failed: bool) -> None:
        span.set_attributes(facts.attributes)
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        of: Attributes = {"dataver.operation": operation}
        error = facts.attributes.get("error.type")
        if error is not None:
            of["error.type"] = error
        within = trace.set_span_in_context(span)
        self._record[_DURATION](time.monotonic() - started, of, within)
        for name, figure, attributes in facts.figures:
            own = {} if METRICS[name][0] == "gauge" else {"dataver.operation": operation}
            self._record[name](figure, {**own, **attributes}, within)
        for event, attributes in facts.events:
            self.send_event(event, self._common(span) | attributes, within)

    def send_event(self, event: str, attributes: Attributes, within: Context | None = None) -> None:
        """Send an event. Application Insights knows it by an attribute, others by its name."""
        name = event_name(event)
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=within,
                severity_number=SeverityNumber.INFO,
                body=name,
                attributes={**attributes, "microsoft.custom_event.name": name},
                event_name=name,
            )
        )

    def _common(self, span: Span) -> Attributes:
        """What an event has of its span: the repository, and the run."""
        known = getattr(span, "attributes", None) or {}
        return {name: known[name] for name in ("dataver.repository.id", "dataver.run.id") if name in known}

    def _parent(self) -> Context:
        """In which context a span begins."""
        here = contexts.get_current()
        current = trace.get_current_span(here).get_span_context()
        active = recording.active
        run = self._runs.get(active.run) if active is not None else None
        if run is not None and (not current.is_valid or current == run.outer):
            return trace.set_span_in_context(run.span, here)
        if current.is_valid:
            return here
        carrier = {name.lower(): os.environ[name] for name in TRACE_VARIABLES if name in os.environ}
        return _PROPAGATOR.extract(carrier, here)


def trace_variables(span: Span) -> dict[str, str]:
    """The environment of a process that is started within a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    return {name.upper(): value for name, value in carrier.items()}
