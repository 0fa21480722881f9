"""`dataver telemetry check` says whether an event arrived, and ends with exit code 7 where not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.telemetry.receivers import dead, mute

if TYPE_CHECKING:
    from tests.telemetry.conftest import Program
    from tests.telemetry.receivers import Collector, Ingestion

IKEY = "12345678-1234-1234-1234-123456789abc"


def check(program: Program, code: int, **environment: str) -> dict[str, Any]:
    """The document of a check."""
    done = program("telemetry", "check", "--json", code=code, **environment)
    found: dict[str, Any] = json.loads(done.stdout)
    if code:
        assert json.loads(done.stderr)["error"]["code"] == code
    return found


def test_application_insights_takes_it(
    program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    found = check(program, 0, **azure_monitor, DATAVER_TELEMETRY_COLUMNS="1", TRACEPARENT="00-1-2-01")
    seconds = found.pop("seconds")
    assert 0 <= seconds < 10
    assert found == {
        "exporter": "azuremonitor", "endpoint": f"{ingestion.url}/", "arrived": True, "status": 200,
        "answer": "HTTP 200, 1 of 1 items accepted", "columns": True, "traceparent": "00-1-2-01",
    }  # fmt: skip
    (event,) = ingestion.of("EventData")
    assert event["name"] == "dataver.telemetry.check"
    assert IKEY not in program("telemetry", "check", **azure_monitor).stdout


@pytest.mark.parametrize("status", [206, 400, 401, 503])
def test_application_insights_does_not_take_it(
    status: int, program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    ingestion.statuses = [status]
    found = check(program, 7, **azure_monitor)
    assert found["arrived"] is False
    assert found["status"] == status
    assert found["answer"] == f"HTTP {status}, 0 of 1 items accepted, refused here"
    assert not ingestion.envelopes


def test_a_collector_takes_it(program: Program, collector: Collector, otlp: dict[str, str]) -> None:
    found = check(program, 0, **otlp)
    assert (found["exporter"], found["endpoint"], found["status"]) == ("otlp", collector.url, 200)
    (event,) = collector.logs
    assert event.event_name == "dataver.telemetry.check"


def test_a_collector_does_not_take_it(program: Program, collector: Collector, otlp: dict[str, str]) -> None:
    collector.rejected = 1
    assert check(program, 7, **otlp)["status"] == 200
    collector.status = 400
    assert check(program, 7, **otlp)["status"] == 400


@pytest.mark.parametrize("exporter", ["azuremonitor", "otlp"])
def test_nobody_answers(exporter: str, program: Program) -> None:
    with mute() as silent:
        for url in (dead(), silent):
            connection = f"InstrumentationKey={IKEY};IngestionEndpoint={url}/"
            environment = {
                "DATAVER_TELEMETRY": exporter,
                "OTEL_EXPORTER_OTLP_ENDPOINT": url,
                "APPLICATIONINSIGHTS_CONNECTION_STRING": connection,
            }
            found = check(program, 7, **environment)
            assert (found["arrived"], found["status"]) == (False, None)
            assert found["answer"] in ("nobody answers", "no answer within 10 s")


def test_what_cannot_be_sent_is_bad_input(program: Program) -> None:
    for text, said in {
        "": "copy the connection string",
        "IngestionEndpoint=http://127.0.0.1/": "copy the whole connection string",
        "InstrumentationKey=no-uuid": "telemetry cannot be sent",
    }.items():
        done = program(
            "telemetry", "check", code=2,
            DATAVER_TELEMETRY="azuremonitor", APPLICATIONINSIGHTS_CONNECTION_STRING=text,
        )  # fmt: skip
        assert said in done.stderr


def test_the_console_says_what_it_wrote(program: Program) -> None:
    done = program("telemetry", "check", DATAVER_TELEMETRY="console")
    assert json.loads(done.stderr)["event_name"] == "dataver.telemetry.check"
    assert "arrived in 0.0 s: written" in done.stdout
