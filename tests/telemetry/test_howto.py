"""The pages about OpenTelemetry and Application Insights do what they show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.test_docs import PROJECT, run, steps

if TYPE_CHECKING:
    import pytest

    from tests.telemetry.receivers import Collector, Ingestion


def follow(page: str, folder: Path) -> None:
    """Do what a page shows, in a folder."""
    found = steps((PROJECT / "docs" / "howto" / page).read_text(encoding="utf-8"))
    assert found
    ids: dict[str, str] = {}
    for step in found:
        wrong = run(step, folder, ids)
        assert wrong is None, wrong


def test_opentelemetry(collector: Collector, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR", collector.url)
    follow("opentelemetry.md", place)
    assert len(collector.events("dataver.telemetry.check")) == 1
    assert collector.span("dataver.run").trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"


def test_application_insights(ingestion: Ingestion, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", ingestion.connection_string)
    follow("application-insights.md", place)
    events = {data["name"] for data in ingestion.of("EventData")}
    assert events >= {
        "dataver.telemetry.check",
        "dataver.version.committed",
        "dataver.run.input",
        "dataver.model.logged",
    }
