"""A model from the data to the requests that it answers, and the store class of Databricks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import mlflow
import pytest
from mlflow.data import get_source
from mlflow.models import Model
from mlflow.tracking import MlflowClient

import dataver
from dataver.errors import BadInputError
from dataver.repository import Repository
from dataver.version import Version
from tests.mlflow.conftest import free_port, serving
from tests.mlflow.data import a_repository, log_model, train

World = tuple[Repository, Version]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    repository, version = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    return repository, version


def test_a_served_model_says_what_it_was_trained_on(world: World, tracking: str, tmp_path: Path) -> None:
    _, version = world
    with mlflow.start_run():
        dataver.mlflow.log_input(version, "training")
        logged = log_model(
            train(version),
            "irism",
            registered_model_name=f"irism-{version.id[:8]}",
            metadata=dataver.mlflow.metadata(),
        )
    folder = Path(mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(tmp_path / "model")))
    (given,) = Model.load(folder).metadata["dataver"]["inputs"]
    assert (given["role"], given["version"], given["tree"]) == ("training", version.id, version.tree)

    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with serving(command, f"http://127.0.0.1:{port}/ping", tmp_path):
        body = json.dumps({"inputs": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}).encode()
        request = Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            assert json.load(answer)["predictions"] == [0, 2]


def test_metadata_can_name_the_inputs_and_must_have_some(world: World, tracking: str) -> None:
    _, version = world
    link = dataver.mlflow.metadata({"training": "iris@v1:train", "testing": version.split("test")})["dataver"]
    assert [(given["role"], given["split"]["part"]) for given in link["inputs"]] == [
        ("training", "train"),
        ("testing", "test"),
    ]
    with pytest.raises(BadInputError, match="log_input"):
        dataver.mlflow.metadata()
    with mlflow.start_run(), pytest.raises(BadInputError, match="log_input"):
        dataver.mlflow.metadata()


def test_models_trained_on_a_version_are_found(world: World, tracking: str) -> None:
    _, version = world
    with mlflow.start_run() as run:
        data = dataver.mlflow.log_input(version, "training")
        logged = log_model(train(version), "irism")
        mlflow.log_metric("accuracy", 0.9, dataset=data, model_id=logged.model_id)
    client = MlflowClient()
    (found,) = client.search_runs(
        [run.info.experiment_id], filter_string=f"dataset.digest = '{version.id[:36]}'"
    )
    assert [output.model_id for output in found.outputs.model_outputs] == [logged.model_id]
    # By the name alone the server finds nothing.
    both = [{"dataset_name": "iris", "dataset_digest": version.id[:36]}]
    models = client.search_logged_models([run.info.experiment_id], datasets=both)
    assert [model.model_id for model in models] == [logged.model_id]


def test_it_works_through_the_store_class_of_databricks(
    world: World, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, version = world
    experiment = mlflow.get_experiment(mlflow.tracking.fluent._get_experiment_id())
    monkeypatch.setenv("DATABRICKS_HOST", tracking)
    monkeypatch.setenv("DATABRICKS_TOKEN", "nobody's")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    mlflow.set_tracking_uri("databricks")
    with mlflow.start_run(experiment_id=experiment.experiment_id) as run:
        mlflow.log_input(mlflow.data.from_dataver("iris@v1"), context="training")
        dataver.mlflow.log_input("iris@v1:test", "testing")
    found = mlflow.get_run(run.info.run_id)
    assert {entry.dataset.name for entry in found.inputs.dataset_inputs} == {"iris", "iris/test"}
    whole = next(entry for entry in found.inputs.dataset_inputs if entry.dataset.name == "iris")
    assert (Path(get_source(whole).load()) / "iris.parquet").read_bytes() == version.read("iris.parquet")
    assert found.data.tags["dataver.input.testing"] == f"iris@v1:test#{version.id}"
    assert "nobody's" not in json.dumps(found.to_dictionary())
