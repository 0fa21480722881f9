"""`dataver link`: what a run read, told after the fact."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

import dataver
from dataver.lineage.records import Records, find_run
from dataver.log.run_state import runs, runs_of_version, tracked
from dataver.repository import Repository
from dataver.version import Version
from tests.mlflow.conftest import dataver_program
from tests.mlflow.data import a_repository, write_iris

World = tuple[Repository, Version]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    repository, version = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    return repository, version


def an_ended_run() -> str:
    with mlflow.start_run(run_name="by hand") as run:
        mlflow.log_param("lr", 0.1)
        mlflow.log_metric("accuracy", 0.9)
        mlflow.log_metric("loss", float("nan"))
    run_id: str = run.info.run_id
    return run_id


def test_an_ended_run_is_linked_on_both_sides(world: World, tracking: str) -> None:
    repository, version = world
    run_id = an_ended_run()
    answer = json.loads(dataver_program("link", run_id, "iris@v1", "iris@v1:test", "--json"))
    assert answer["created"] is True
    assert [given["id"] for given in answer["added"]] == [version.id] * 2

    run = MlflowClient().get_run(run_id)
    assert {given.dataset.name for given in run.inputs.dataset_inputs} == {"iris", "iris/test"}
    assert run.data.tags["dataver.input.training"] == f"iris@v1#{version.id}"
    assert run.data.tags["dataver.input.training.2"] == f"iris@v1:test#{version.id}"
    assert run.info.status == "FINISHED"

    state = repository.session.state()
    (known,) = tracked(state, f"mlflow:{run_id}")
    assert known.hex() == run_id
    record = Records(repository.session, state).of(find_run(state, known.hex()))
    assert record.name == "by hand"
    assert record.params == {"lr": "0.1"}
    assert record.metrics == {"accuracy": 0.9, "loss": "nan"}
    assert record.status == "done"
    assert record.trackers[0].uri == tracking
    assert [run for run, _ in runs_of_version(state, bytes.fromhex(version.id))] == [known]


def test_linking_again_changes_nothing(world: World, tracking: str) -> None:
    repository, _ = world
    run_id = an_ended_run()
    first = json.loads(dataver_program("link", run_id, "iris@v1", "--json"))
    entry = repository.session.newest().number
    second = json.loads(dataver_program("link", f"runs:/{run_id}/model", "iris@v1", "--json"))
    assert second["run"] == first["run"]
    assert (second["created"], second["added"]) == (False, [])
    assert repository.session.newest().number == entry
    assert len(MlflowClient().get_run(run_id).inputs.dataset_inputs) == 1
    assert "had all of it" in dataver_program("link", run_id, "iris@v1")


def test_more_can_be_linked_to_a_run_of_either_name(world: World, tracking: str, tmp_path: Path) -> None:
    repository, _ = world
    repository.commit("other", write_iris(tmp_path / "other", 2))
    run_id = an_ended_run()
    dataver_program("link", run_id, "iris@v1")
    answer = json.loads(dataver_program("link", run_id, "iris@v1", "--role", "testing", "--json"))
    assert [given["role"] for given in answer["inputs"]] == ["training", "testing"]
    answer = json.loads(dataver_program("link", f"run:{answer['run'][:12]}", "other", "--json"))
    assert [given["dataset"] for given in answer["inputs"]] == ["iris", "iris", "other"]
    assert len(list(runs(repository.session.newest()))) == 1


def test_what_cannot_be_linked_is_said(world: World, tracking: str) -> None:
    assert "f" * 32 in dataver_program("link", "f" * 32, "iris@v1", code=3)
    assert "run" in dataver_program("link", "run:" + "f" * 32, "iris@v1", code=3)
    assert "v7" in dataver_program("link", an_ended_run(), "iris@v7", code=3)
    assert "MLflow" in dataver_program("link", "no run at all!", "iris@v1", code=2)


def test_the_record_goes_where_runs_are_recorded(
    world: World, tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = world
    other = dataver.init(str(tmp_path / "runs"))
    monkeypatch.setenv("DATAVER_RUNS_REPO", other.url)
    answer = json.loads(dataver_program("link", an_ended_run(), "iris@v1", "--json"))
    dataver_program("link", f"run:{answer['run']}", "iris@v1:test", "--role", "testing")
    (known,) = runs(other.session.newest())
    record = Records(other.session, other.session.state()).of(known)
    assert [given.role for given in record.inputs] == ["training", "testing"]
    assert record.inputs[0].repository == repository.id
    assert list(runs(repository.session.newest())) == []


def test_a_run_that_is_still_on_gets_no_more_inputs(world: World, tracking: str) -> None:
    with dataver.run("train") as run:
        assert "ended" in dataver_program("link", f"run:{run.id}", "iris@v1", code=4)
    dataver_program("link", f"run:{run.id}", "iris@v1")


def test_without_a_tracking_uri_no_database_is_made(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert not mlflow.is_tracking_uri_set()
    assert "MLFLOW_TRACKING_URI" in dataver_program("link", "f" * 32, "iris@v1", code=2)
    assert list((tmp_path / "empty").iterdir()) == []
