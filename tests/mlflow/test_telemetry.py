"""MLflow's server takes spans by OpenTelemetry's protocol: what commands do is seen among its traces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
from mlflow.entities import Trace

from tests.mlflow.conftest import environment

PROJECT = Path(__file__).parents[2]


def test_what_commands_do_is_among_the_traces(tracking: str, tmp_path: Path) -> None:
    experiment = mlflow.set_experiment("telemetry")
    telemetry = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
        "DATAVER_TELEMETRY": "otlp",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{tracking}/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"x-mlflow-experiment-id={experiment.experiment_id}",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a\n1\n")
    for line in ("init", "commit iris data", "checkout iris@v1 out"):
        subprocess.run(
            [sys.executable, "-m", "dataver.cli", *line.split()],
            cwd=tmp_path, env=environment(telemetry), check=True, capture_output=True, timeout=300,
        )  # fmt: skip
    found = mlflow.search_traces(locations=[experiment.experiment_id], return_type="list")
    assert isinstance(found, list)
    names = [{span.name for span in trace.data.spans} for trace in found if isinstance(trace, Trace)]
    assert {"dataver.command", "dataver.commit"} in names
    assert {"dataver.command", "dataver.resolve", "dataver.checkout"} in names
    (commit,) = [span for trace in found for span in trace.data.spans if span.name == "dataver.commit"]
    assert commit.attributes["dataver.dataset.name"] == "iris"
    assert commit.attributes["dataver.version.name"] == "v1"
