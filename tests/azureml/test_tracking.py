"""Runs in a job: the real azureml-mlflow, over TLS, and a real server of MLflow with the service's gaps."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

import dataver
from dataver.repository import Repository
from tests.azureml.stub import WORKSPACE_ID, Stub
from tests.mlflow.conftest import free_port, serving

PROGRAM = Path(__file__).parents[2] / ".venv-mlflow" / "bin" / "python"
Run = Callable[..., Any]


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server, which comes from an environment of its own: azureml-mlflow holds MLflow back."""
    assert PROGRAM.exists(), f"{PROGRAM} is missing: `make .venv-mlflow/.made` installs it"
    folder, port = tmp_path_factory.mktemp("mlflow-server"), free_port()
    command = [
        str(PROGRAM), "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
    with serving(command, f"http://127.0.0.1:{port}/health", folder):
        yield f"http://127.0.0.1:{port}"


def ask(server: str, path: str, **document: object) -> Any:
    """What the server itself answers."""
    headers = {"Content-Type": "application/json"}
    data = json.dumps(document).encode()
    request = Request(f"{server}/api/2.0/mlflow/{path}", data=data, headers=headers)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def run_of(server: str, run: str) -> Any:
    with urlopen(f"{server}/api/2.0/mlflow/runs/get?run_id={run}", timeout=60) as answer:
        return json.load(answer)["run"]


def tags_of(server: str, run: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run_of(server, run)["data"]["tags"]}


@pytest.fixture
def job(mlflow_server: str, arm: Stub, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment of a job, whose run is there already. Its id."""
    import mlflow

    arm.mlflow = mlflow_server
    experiment = ask(mlflow_server, "experiments/create", name=f"experiment-{uuid4().hex}")["experiment_id"]
    made = ask(mlflow_server, "runs/create", experiment_id=experiment, start_time=int(time.time() * 1000))
    run: str = made["run"]["info"]["run_id"]
    told = (
        base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) + 3600}).encode()).decode().rstrip("=")
    )
    for name, value in {
        "MLFLOW_TRACKING_URI": f"{arm.url.replace('https', 'azureml')}/mlflow/v1.0{WORKSPACE_ID}",
        "MLFLOW_TRACKING_TOKEN": f"e30.{told}.e30",
        "MLFLOW_RUN_ID": run,
        "MLFLOW_EXPERIMENT_ID": experiment,
        "AZUREML_RUN_ID": run,
        "AZUREML_ARM_PROJECT_NAME": "retraining",
    }.items():
        monkeypatch.setenv(name, value)
    mlflow.set_tracking_uri(None)
    yield run
    while mlflow.active_run():
        mlflow.end_run()


def test_the_gap_is_there(job: str) -> None:
    """What the rest of this goes round: a logged model is refused by the real client."""
    import mlflow
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException):
        mlflow.MlflowClient().create_logged_model("0")


def test_inputs_and_tags_of_a_job(job: str, mlflow_server: str, repository: Repository) -> None:
    import mlflow

    version = repository.version("iris@v1")
    with mlflow.start_run():
        dataver.mlflow.log_input("iris@v1", "training")
        mlflow.log_metric("accuracy", 0.5)
    found = run_of(mlflow_server, job)
    assert [one["dataset"]["name"] for one in found["inputs"]["dataset_inputs"]] == ["iris"]
    assert tags_of(mlflow_server, job)["dataver.input.training"] == f"iris@v1#{version.id}"


@pytest.mark.parametrize("status", [403, 404, 501])
def test_tags_alone_where_inputs_are_refused(
    status: int, job: str, mlflow_server: str, arm: Stub, repository: Repository
) -> None:
    import mlflow

    arm.lacks["/runs/log-inputs"] = status
    version = repository.version("iris@v1")
    with mlflow.start_run():
        dataver.mlflow.log_input("iris@v1", "training")
        dataver.mlflow.log_input("one@v1", "testing")
    assert "dataset_inputs" not in run_of(mlflow_server, job).get("inputs", {})
    tags = tags_of(mlflow_server, job)
    assert tags["dataver.input.training"] == f"iris@v1#{version.id}"
    assert tags["dataver.input.testing"].startswith("one@v1#")


@pytest.mark.parametrize("lacks", [(), ("/runs/log-inputs",)])
def test_a_run_in_a_job_is_tied_to_it(
    lacks: tuple[str, ...], job: str, mlflow_server: str, arm: Stub, repository: Repository, run: Run
) -> None:
    import mlflow

    arm.lacks.update(dict.fromkeys(lacks, 404))
    with mlflow.start_run(), dataver.run("train") as here:
        dataver.resolve("iris@v1").to_arrow(format="csv")
        mlflow.log_metric("accuracy", 0.5)
    assert here.record is not None
    trackers = {tracker.kind: tracker for tracker in here.record.trackers}
    assert trackers["azureml"].run_id == trackers["mlflow"].run_id == job
    assert trackers["azureml"].uri == (
        "azureml://subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/group/workspaces/ws"
    )
    assert trackers["azureml"].experiment == "retraining"
    assert here.record.metrics == {"accuracy": 0.5}
    tags = tags_of(mlflow_server, job)
    assert tags["dataver.run"] == here.id
    assert tags["dataver.input.input"] == f"iris@v1#{repository.version('iris@v1').id}"
    found = run("audit", f"runs:/{job}")
    assert (found["status"], found["run"]["id"]) == ("traced", here.id)
    assert [given["node"] for given in found["data"]] == ["iris@v1"]


def test_a_job_that_dataver_did_not_run_is_traced_by_its_tags(
    job: str, arm: Stub, repository: Repository, run: Run
) -> None:
    import mlflow

    arm.lacks["/runs/log-inputs"] = 404
    with mlflow.start_run():
        dataver.mlflow.log_input("iris@v1", "training")
    found = run("audit", f"runs:/{job}")
    assert found["status"] == "traced"
    assert [(given["role"], given["node"]) for given in found["data"]] == [("training", "iris@v1")]


def test_linking_after_the_fact(
    job: str, mlflow_server: str, arm: Stub, repository: Repository, run: Run
) -> None:
    arm.lacks["/runs/log-inputs"] = 404
    linked = run("link", f"runs:/{job}", "iris@v1", "--role", "training")
    assert linked["created"] is True
    assert tags_of(mlflow_server, job)["dataver.input.training"].startswith("iris@v1#")


def test_it_can_be_turned_off(job: str, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_NO_LINK", "1")
    with dataver.run("train") as here:
        dataver.resolve("iris@v1").to_arrow(format="csv")
    assert here.record is not None
    assert here.record.trackers == ()
