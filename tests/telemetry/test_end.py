"""The end of a command waits two seconds at most for telemetry, and what it does is the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.telemetry.receivers import collecting, dead, ingesting, mute

if TYPE_CHECKING:
    from tests.telemetry.conftest import Program

SLACK_S = 20
"""How much slower than another one command may be on a machine that is busy."""


@pytest.fixture(params=["dead", "mute", "503"])
def endpoints(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The URL of an endpoint for each exporter, none of which takes anything."""
    with ExitStack() as stack:
        if request.param == "503":
            ingestion, collector = stack.enter_context(ingesting()), stack.enter_context(collecting())
            ingestion.statuses = [503] * 1000
            collector.status = 503
            yield {"azuremonitor": ingestion.url, "otlp": collector.url}
            return
        url = dead() if request.param == "dead" else stack.enter_context(mute())
        yield {"azuremonitor": url, "otlp": url}


@pytest.mark.parametrize("exporter", ["azuremonitor", "otlp"])
def test_nobody_who_answers_holds_no_command_up(
    exporter: str, iris: Path, program: Program, endpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATAVER_TELEMETRY_WAIT")
    url = endpoints[exporter]
    environment = {
        "DATAVER_TELEMETRY": exporter,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "120",  # what its exporter would take by itself
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=12345678-1234-1234-1234-123456789abc;"
        f"IngestionEndpoint={url}/",
    }
    started = time.monotonic()
    without = program("ls", "iris@v1")
    plain_s = time.monotonic() - started
    started = time.monotonic()
    done = program("ls", "iris@v1", **environment)
    took_s = time.monotonic() - started
    assert (done.stdout, done.stderr) == (without.stdout, "")
    assert took_s - plain_s < 2 + SLACK_S


@pytest.mark.parametrize("exporter", ["otlp", "azuremonitor"])
def test_a_variable_of_opentelemetry_that_is_malformed_is_no_matter_of_the_command(
    exporter: str, iris: Path, program: Program, otlp: dict[str, str], azure_monitor: dict[str, str]
) -> None:
    environment = {**otlp, **azure_monitor, "DATAVER_TELEMETRY": exporter, "OTEL_RESOURCE_ATTRIBUTES": "odd"}
    assert program("ls", "iris@v1", **environment).stderr == ""


def test_the_end_itself_is_two_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured within one process, where nothing else takes time: providers that wait for ever."""
    import threading

    from dataver.integrations.telemetry.providers import SdkProviders
    from dataver.integrations.telemetry.setting import end_s_max

    monkeypatch.delenv("DATAVER_TELEMETRY_WAIT")
    never = threading.Event()

    class Hanging:
        def shutdown(self) -> None:
            never.wait()

    assert end_s_max() == 2
    started = time.monotonic()
    assert not SdkProviders(Hanging(), Hanging(), Hanging(), 0.3).close()
    assert 0.3 <= time.monotonic() - started < SLACK_S
    never.set()
