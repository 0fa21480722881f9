"""Telemetry where it is off, or cannot be: nothing fails for it, and nothing is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dataver import progress
from dataver.cli import telemetry_reference
from dataver.errors import BadInputError
from dataver.integrations.telemetry import setting
from dataver.integrations.telemetry.names import ATTRIBUTES, EVENTS, METRICS, OPERATIONS

Run = Callable[..., Result]
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which OpenTelemetry's SDK is not installed."""
    for name in ("opentelemetry.sdk._logs", "opentelemetry.sdk._logs.export"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("no_exporter")
@pytest.mark.parametrize(
    ("exporter", "extra"), [("console", "otel"), ("otlp", "otel"), ("azuremonitor", "azuremonitor")]
)
def test_a_command_goes_on_without_the_extra(
    exporter: str, extra: str, run: Run, iris: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_TELEMETRY", exporter)
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=x")
    result = run("list", "--json")
    assert result.exit_code == 0
    assert f"warning: no telemetry: DATAVER_TELEMETRY={exporter} needs" in result.stderr
    assert f"pip install --upgrade 'dataver[{extra}]'" in result.stderr
    assert progress.observer() is None
    result = run("telemetry", "check")
    assert result.exit_code == 2
    assert f"pip install --upgrade 'dataver[{extra}]'" in result.stderr


def test_a_value_that_means_nothing_is_told(run: Run, iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_TELEMETRY", "everything")
    result = run("list")
    assert result.exit_code == 0
    assert (
        "warning: no telemetry: DATAVER_TELEMETRY is none of none, console, otlp, azuremonitor"
        in result.stderr
    )
    assert run("telemetry", "check").exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 2), ("0", 0), ("0.5", 0.5), ("600", 600), ("x", None), ("-1", None), ("nan", None)],
)
def test_how_long_the_end_waits(text: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_TELEMETRY_WAIT", text)
    if seconds is None:
        with pytest.raises(BadInputError, match="DATAVER_TELEMETRY_WAIT is no number of seconds"):
            setting.end_s_max()
    else:
        assert setting.end_s_max() == seconds


@pytest.mark.parametrize("value", ["", "none", "None", "0", "off"])
def test_off_is_off(value: str, run: Run, iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_TELEMETRY", value)
    result = run("list")
    assert (result.exit_code, result.stderr) == (0, "")
    result = run("telemetry", "check")
    assert result.exit_code == 0
    assert "telemetry is off" in result.stdout


@pytest.mark.parametrize(
    ("exporter", "variables", "endpoint"),
    [
        ("none", {}, None),
        ("console", {}, "standard error"),
        ("otlp", {}, "http://localhost:4318"),
        (
            "otlp",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:pw@c.example:4318/x?key=1#f"},
            "https://c.example:4318/x",
        ),
        ("azuremonitor", {}, None),
        (
            "azuremonitor",
            {
                "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=k; IngestionEndpoint=https://a.example/;X=y"
            },
            "https://a.example/",
        ),
    ],
)
def test_endpoints_are_shown_without_credentials(
    exporter: str, variables: dict[str, str], endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(setting.CONNECTION_VARIABLE, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert setting.endpoint_of(exporter) == endpoint


@pytest.mark.parametrize(
    ("exporter", "variable", "value"),
    [
        ("otlp", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://[me:secret"),
        (
            "azuremonitor",
            setting.CONNECTION_VARIABLE,
            "InstrumentationKey=x;IngestionEndpoint=http://[me:secret",
        ),
    ],
)
def test_an_endpoint_that_is_no_url_is_told(
    exporter: str, variable: str, value: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_TELEMETRY", exporter)
    monkeypatch.setenv(variable, value)
    result = run("telemetry", "check")
    assert result.exit_code == 2
    assert "no URL" in result.stderr
    assert "secret" not in result.stderr


def test_the_workbook_is_printed_alone(run: Run) -> None:
    assert run("telemetry", "queries", "--workbook", "--json").exit_code == 2
    assert run("telemetry", "queries", "bytes-saved", "--workbook").exit_code == 2
    assert run("telemetry", "queries", "--workbook").exit_code == 0


def test_the_page_of_what_is_sent_is_what_the_code_says() -> None:
    page = PROJECT / "docs" / "reference" / "telemetry.md"
    text = telemetry_reference.reference()
    assert page.read_text(encoding="utf-8") == text, (
        "docs/reference/telemetry.md is stale: "
        "python -m dataver.cli.telemetry_reference > docs/reference/telemetry.md"
    )
    tables: list[dict[str, Any]] = [ATTRIBUTES, METRICS]
    for name in [*(f"dataver.{n}" for n in [*OPERATIONS, *EVENTS]), *(n for table in tables for n in table)]:
        assert f"| `{name}` |" in text
