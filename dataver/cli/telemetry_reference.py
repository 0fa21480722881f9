"""The page `docs/reference/telemetry.md`, made from the code.

`python -m dataver.cli.telemetry_reference` prints it. A test compares the file with what this prints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from dataver.integrations.telemetry.names import ATTRIBUTES, EVENTS, METRICS, OPERATIONS, RESOURCE

INTRODUCTION = """\
# What telemetry sends

<!-- Made by `python -m dataver.cli.telemetry_reference > docs/reference/telemetry.md`: change it there. -->

All of it: a test compares this page with what was sent. Never sent are paths, URLs, messages (of versions
and of errors), authors, reasons, parameters and metrics of runs, anything of the environment, and values of
columns. What people gave as a name to a dataset, a version, a model, a run or a role is sent as it is.
Nothing is sent unless you ask for it: see [OpenTelemetry](../howto/opentelemetry.md) and
[Application Insights](../howto/application-insights.md).
"""
ENDING = """\
In a program that has set up OpenTelemetry for itself, these last are those of the program. Microsoft's
exporter adds `logger_name`, and in the tags of each item the language of the operating system, its own
release and the name of the machine; what is said of the sender is also a metric, `_OTELRESOURCE_`.
"""
VARIABLES = {
    "DATAVER_TELEMETRY": (
        "`none` or unset; `console`, which is standard error; `otlp`; `azuremonitor`. `none` also keeps "
        "dataver out of the telemetry of the program that it runs in"
    ),
    "DATAVER_TELEMETRY_COLUMNS": (
        "`1`: names of columns may be sent; else of each measure of drift the worst figure of all columns"
    ),
    "DATAVER_TELEMETRY_WAIT": (
        "how many seconds the end of a command waits at most for what is on its way: 2 if unset"
    ),
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "where `azuremonitor` sends to",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": (
        "`Authorization=AAD`: the managed identity of the machine logs in; `;ClientId=…` for another one"
    ),
    "OTEL_EXPORTER_OTLP_ENDPOINT": (
        "where `otlp` sends to, by HTTP and protobuf: http://localhost:4318 if unset. "
        "`OTEL_EXPORTER_OTLP_HEADERS`, `…_CERTIFICATE`, `…_TIMEOUT` and those of one signal count as well"
    ),
    "OTEL_SERVICE_NAME": "another name than dataver",
    "OTEL_RESOURCE_ATTRIBUTES": "attributes that all that is sent gets",
    "OTEL_TRACES_EXPORTER": (
        "`none`: no spans, where a receiver takes none; so for `OTEL_METRICS_EXPORTER` and "
        "`OTEL_LOGS_EXPORTER`, which is events"
    ),
    "OTEL_SDK_DISABLED": "as OpenTelemetry defines it; so is `OTEL_TRACES_SAMPLER`",
    "TRACEPARENT": (
        "the trace that a command belongs to, with `TRACESTATE`; `dataver run` sets both for what it runs"
    ),
}


def reference() -> str:
    """The whole page."""
    operations = {f"dataver.{name}": (text,) for name, text in OPERATIONS.items()}
    events = {f"dataver.{name}": (text,) for name, text in EVENTS.items()}
    resource = {name: (text,) for name, text in RESOURCE.items()}
    variables = {name: (text,) for name, text in VARIABLES.items()}
    sections = [
        *_section("Variables", "variable | says", variables),
        *_section("Spans", "span | is there when", operations),
        *_section("Events", "event | is sent when", events),
        *_section("Metrics", "metric | kind | unit | is", METRICS),
        *_section("Attributes", "attribute | kind | is", ATTRIBUTES),
        *_section("Of the sender", "attribute | is", resource),
    ]
    return "\n".join([INTRODUCTION, *sections, ENDING])


def _section(title: str, heading: str, rows: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield from (f"## {title}", "", f"| {heading} |", f"|{'---|' * (heading.count('|') + 1)}")
    for name, texts in rows.items():
        yield f"| `{name}` | {' | '.join(texts)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(reference())
