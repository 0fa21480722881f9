"""Microsoft's own exporter, against what its server answers: 200, 206, 400 and 503."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.telemetry.conftest import PROJECT

if TYPE_CHECKING:
    from tests.telemetry.conftest import Program
    from tests.telemetry.receivers import Ingestion


def names(envelopes: list[dict[str, Any]]) -> set[str]:
    """The names of events and spans."""
    found = {item["data"]["baseData"].get("name") for item in envelopes}
    return {name for name in found if name is not None}


def test_a_commit_becomes_spans_metrics_and_an_event(
    iris: Path, program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    (iris / "c.csv").write_text("c\n3\n")
    made = json.loads(program("commit", "iris", "data", "--json", **azure_monitor).stdout)
    (event,) = ingestion.of("EventData")
    assert event["name"] == "dataver.version.committed"
    sent = event["properties"]
    assert sent["dataver.dataset.name"] == "iris"
    assert sent["dataver.version.name"] == made["version"] == "v3"
    assert sent["dataver.version.id"] == made["id"]
    assert int(sent["dataver.bytes.written"]) == made["stored_bytes"]
    assert int(sent["dataver.bytes.deduplicated"]) == made["bytes"] - made["new_bytes"] > 0
    (span,) = ingestion.of("RemoteDependencyData", "dataver.commit")
    (command,) = ingestion.of("RemoteDependencyData", "dataver.command")
    assert span["type"] == "InProc"
    assert span["success"]
    assert span["properties"]["dataver.created"] == "True"
    assert span["properties"]["dataver.store.protocol"] == "file"
    assert command["properties"] == {"dataver.command": "commit", "dataver.exit_code": "0"}
    metrics = {
        metric["name"]: metric["value"] for data in ingestion.of("MetricData") for metric in data["metrics"]
    }
    assert metrics["dataver.bytes.written"] == made["stored_bytes"]
    assert metrics["dataver.bytes.deduplicated"] == made["bytes"] - made["new_bytes"]
    assert metrics["dataver.operation.duration"] > 0
    by_name = {item["data"]["baseData"].get("name"): item["tags"] for item in ingestion.envelopes}
    traces = {by_name[name]["ai.operation.id"] for name in ("dataver.version.committed", "dataver.command")}
    assert len(traces) == 1
    assert by_name["dataver.version.committed"]["ai.operation.parentId"] == span["id"]
    assert by_name["dataver.commit"]["ai.operation.parentId"] == command["id"]
    assert by_name["dataver.commit"]["ai.cloud.role"] == "dataver"
    assert by_name["dataver.commit"]["ai.cloud.roleInstance"] == os.uname().nodename


def test_what_the_exporter_is_told_stays_within_the_program(
    iris: Path, program: Program, azure_monitor: dict[str, str]
) -> None:
    script = "import os; print(*[name for name in os.environ if 'APPLICATIONINSIGHTS' in name])"
    done = program("run", "--", sys.executable, "-c", script, **azure_monitor)
    assert done.stdout == "APPLICATIONINSIGHTS_CONNECTION_STRING\n"


def test_an_error_is_told_by_its_class_and_exit_code(
    iris: Path, program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    program("checkout", "iris@v9", "out", code=3, **azure_monitor)
    (span,) = ingestion.of("RemoteDependencyData", "dataver.resolve")
    (command,) = ingestion.of("RemoteDependencyData", "dataver.command")
    assert not span["success"]
    assert span["properties"]["dataver.error.type"] == "RefNotFoundError"
    assert span["properties"]["dataver.exit_code"] == "3"
    assert not command["success"]
    assert command["properties"]["dataver.exit_code"] == "3"
    assert not ingestion.of("EventData")


def test_what_is_refused_in_part_or_for_now_is_sent_by_a_later_command(
    iris: Path, program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    ingestion.statuses = [503] * 3
    program("ls", "iris@v1", **azure_monitor)
    assert len(ingestion.requests) == 3
    assert not ingestion.envelopes
    assert waiting()
    _let_waiting_be_tried()
    program("list", **azure_monitor)
    assert {"dataver.version.resolved", "dataver.resolve", "dataver.command"} <= names(ingestion.envelopes)
    assert not waiting()


def test_the_refused_item_of_several_is_sent_again(
    iris: Path, program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    ingestion.statuses = [206] * 3
    program("ls", "iris@v1", **azure_monitor)
    refused = [items[-1] for status, _, items in ingestion.requests if status == 206]
    assert len(refused) == 3
    assert waiting()
    _let_waiting_be_tried()
    program("list", **azure_monitor)
    again = [item for status, _, items in ingestion.requests if status == 200 for item in items]
    for item in refused:
        assert item["data"] in [other["data"] for other in again]


def test_what_is_refused_for_good_is_dropped(
    iris: Path, program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    ingestion.statuses = [400] * 3
    done = program("ls", "iris@v1", **azure_monitor)
    assert done.stderr == ""
    assert not waiting()


@pytest.mark.parametrize("status", [200, 206, 400, 503])
def test_no_answer_changes_what_a_command_says(
    status: int, iris: Path, program: Program, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    ingestion.statuses = [status] * 100
    for line in (("show", "iris", "--json"), ("ls", "iris@v9")):
        without = program(*line, code=None)
        done = program(*line, code=None, **azure_monitor)
        assert (done.returncode, done.stdout, done.stderr) == (
            without.returncode, without.stdout, without.stderr
        )  # fmt: skip


def waiting() -> list[Path]:
    """What waits on this machine to be sent."""
    folder = Path(os.environ["DATAVER_CACHE_DIR"]) / "telemetry"
    assert folder.stat().st_mode & 0o077 == 0
    return [path for path in folder.iterdir() if ".blob" in path.name]


def _let_waiting_be_tried() -> None:
    """What waits is let alone for a minute."""
    for path in waiting():
        path.rename(path.with_name(path.name.partition("@")[0]))


COMPLETED = """
import sys, threading
from azure.monitor.opentelemetry.exporter._generated.exporter._utils.model_base import Model

class Noted(set):
    def add(self, name):
        print(threading.current_thread() is threading.main_thread(), name.rpartition(".")[2], file=sys.stderr)
        super().add(name)

Model._calculated = Noted()
from dataver.cli import main
sys.exit(main(["ls", "iris@v1"]))
"""
"""Runs a command, and prints of each of the exporter's models whether the main thread completed its class."""


def test_no_two_threads_complete_a_model_of_the_exporter_at_once(
    iris: Path, ingestion: Ingestion, azure_monitor: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPLETED],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **azure_monitor},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    by_main_thread = {name: main for main, name in map(str.split, done.stderr.splitlines())}
    assert {"TelemetryItem", "MetricsData", "RemoteDependencyData", "TrackResponse"} <= by_main_thread.keys()
    assert set(by_main_thread.values()) == {"True"}
    assert names(ingestion.envelopes) >= {"dataver.command"}
