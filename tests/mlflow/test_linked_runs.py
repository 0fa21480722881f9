"""Runs of dataver and of MLflow that are one."""

from __future__ import annotations

import json
import os
import statistics
import time
import warnings
from pathlib import Path

import mlflow
import pytest
from mlflow.models import Model

import dataver
from dataver.format.run_record import RunRecord
from dataver.hashing import blake3_digest
from dataver.integrations.mlflow.context import DataverRunContext
from dataver.lineage.records import Records, find_run
from dataver.repository import Repository
from dataver.running import Run
from dataver.version import Version
from tests.mlflow.conftest import free_port, run_program
from tests.mlflow.data import a_repository, log_model, train

World = tuple[Repository, Version]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    repository, version = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    monkeypatch.chdir(tmp_path)
    return repository, version


def recorded(run: Run) -> RunRecord:
    assert run.record is not None
    return run.record


def roles(run_id: str) -> dict[str, str]:
    """The inputs of a run of MLflow: name and role."""
    return {
        given.dataset.name: next(tag.value for tag in given.tags if tag.key == "mlflow.data.context")
        for given in mlflow.get_run(run_id).inputs.dataset_inputs
    }


def test_a_run_inside_one_of_mlflow(world: World, tracking: str) -> None:
    repository, version = world
    with mlflow.start_run() as there:
        mlflow.log_param("depth", 3)
        with dataver.run("train", params={"lr": 0.1, "depth": 4}) as run:
            run.use("iris@v1", role="training", split="train").to_arrow()
            run.use("iris@v1", role="testing", split="test").to_arrow()
            mlflow.log_metric("accuracy", 0.9)
    (tracker,) = recorded(run).trackers
    assert (tracker.kind, tracker.run_id, tracker.uri) == ("mlflow", there.info.run_id, tracking)
    assert recorded(run).params == {"lr": 0.1, "depth": 4}, "the run's own value stays"
    assert recorded(run).metrics == {"accuracy": 0.9}
    assert roles(there.info.run_id) == {"iris/train": "training", "iris/test": "testing"}
    tags = mlflow.get_run(there.info.run_id).data.tags
    assert tags["dataver.run"] == run.id
    assert tags["dataver.input.testing"] == f"iris@v1:test#{version.id}"
    state = repository.session.newest()
    assert Records(repository.session, state).of(find_run(state, run.id)) == recorded(run)


def test_runs_of_mlflow_inside_one(world: World, tracking: str) -> None:
    with dataver.run("train") as run:
        dataver.resolve("iris@v1").to_arrow()
        with mlflow.start_run() as outer:
            with mlflow.start_run(nested=True) as inner:
                mlflow.log_param("password", "hunter2-canary")
            logged = log_model(train(dataver.resolve("iris@v1")), "a model")
    ids = {tracker.run_id for tracker in recorded(run).trackers}
    assert ids == {outer.info.run_id, inner.info.run_id}
    assert roles(outer.info.run_id) == roles(inner.info.run_id) == {"iris": "input"}
    (model,) = recorded(run).models
    assert (model.name, model.uri) == ("a-model", logged.model_uri)
    assert "MLmodel" in {file.path for file in model.files}
    assert "hunter2-canary" not in recorded(run).encode().decode("utf-8", "replace")


def test_a_model_saved_in_a_run_carries_the_link(world: World, tracking: str, tmp_path: Path) -> None:
    _, version = world
    with dataver.run("train") as run, mlflow.start_run():
        model = train(run.use("iris@v1", role="training"))
        mlflow.sklearn.save_model(
            model, tmp_path / "model", serialization_format="skops", pip_requirements=[]
        )
        mine = {"dataver": {"mine": 1}}
        mlflow.sklearn.save_model(
            model, tmp_path / "mine", serialization_format="skops", pip_requirements=[], metadata=mine
        )
    link = Model.load(tmp_path / "model").metadata["dataver"]
    assert link["run"] == run.id
    assert [(given["role"], given["version"]) for given in link["inputs"]] == [("training", version.id)]
    assert Model.load(tmp_path / "mine").metadata == mine


def test_it_can_be_turned_off(world: World, tracking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_NO_LINK", "1")
    with mlflow.start_run() as outer, dataver.run("train") as run:
        dataver.resolve("iris@v1").to_arrow()
        with mlflow.start_run(nested=True) as inner:
            log_model(train(dataver.resolve("iris@v1")), "irism")
    assert (recorded(run).trackers, recorded(run).models) == ((), ())
    for there in (outer, inner):
        found = mlflow.get_run(there.info.run_id)
        assert found.inputs.dataset_inputs == []
        assert not [tag for tag in found.data.tags if tag.startswith("dataver")]


def test_the_run_that_the_environment_names(
    world: World, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow.start_run() as there:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", there.info.run_id)
    script = "import dataver; dataver.resolve('iris@v1').read('README.txt')"
    done = run_program("run", "--json", "--", "python", "-c", script)
    assert done.returncode == 0, done.stderr
    assert mlflow.get_run(there.info.run_id).data.tags["dataver.run"] == json.loads(done.stdout)["id"]
    assert roles(there.info.run_id) == {"iris": "input"}


def test_what_is_logged_as_input_is_one_and_describing_it_reads_nothing(world: World, tracking: str) -> None:
    with mlflow.start_run() as there, dataver.run("train") as run:
        dataver.mlflow.log_input("iris@latest", "training")
        dataver.mlflow.log_input("iris@v1:test", "testing")
    found = {given.role: given for given in recorded(run).inputs}
    assert set(found) == {"training", "testing"}
    assert found["training"].ref == "iris@latest"
    assert (found["testing"].split or {})["part"] == "test"
    assert [(given.files, given.bytes_read) for given in found.values()] == [(0, 0), (0, 0)]
    assert roles(there.info.run_id) == {"iris": "training", "iris/test": "testing"}


def test_a_run_of_mlflow_that_goes_on_is_tied_by_its_inputs(world: World, tracking: str) -> None:
    with mlflow.start_run() as there:
        pass
    with dataver.run("train") as run, mlflow.start_run(run_id=there.info.run_id):
        dataver.mlflow.log_input("iris@v1", "training")
    assert [tracker.run_id for tracker in recorded(run).trackers] == [there.info.run_id]
    assert mlflow.get_run(there.info.run_id).data.tags["dataver.run"] == run.id


def test_a_server_that_is_gone_fails_no_run(
    world: World, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = world
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = dataver.run("train").start()
    run.add_tracker("mlflow", "f" * 32, f"http://127.0.0.1:{free_port()}")
    dataver.resolve("iris@v1").read("README.txt")
    with pytest.warns(UserWarning, match="run_end"):
        run.end()
    state = repository.session.newest()
    assert Records(repository.session, state).of(find_run(state, run.id)).status == "done"


def test_a_tracker_of_which_nobody_knows_where_it_is_makes_no_database(world: World, tmp_path: Path) -> None:
    assert not mlflow.is_tracking_uri_set()
    with dataver.run("train") as run:
        run.add_tracker("mlflow", "39a8545a")
    assert [tracker.run_id for tracker in recorded(run).trackers] == ["39a8545a"]
    assert not (tmp_path / "mlflow.db").exists()


def test_bytes_that_are_not_at_hand_are_told_all_the_same(
    world: World, tracking: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository, version = world
    runs = dataver.init(str(tmp_path / "runs"))
    monkeypatch.setenv("DATAVER_RUNS_REPO", runs.url)
    with mlflow.start_run() as there:
        run = dataver.run("train")
        run.start()
        version.read("README.txt")
        monkeypatch.delenv("DATAVER_REPO")
        os.rename(repository.url, tmp_path / "moved")
        run.end()
    (given,) = mlflow.get_run(there.info.run_id).inputs.dataset_inputs
    assert json.loads(given.dataset.source)["id"] == version.id
    assert given.dataset.schema in (None, "")


def test_every_run_has_the_lock_file_in_its_tags(world: World, tracking: str) -> None:
    Path("dataver.lock").write_text("format = 1\n")
    with mlflow.start_run() as there:
        pass
    tags = mlflow.get_run(there.info.run_id).data.tags
    assert tags["dataver.lock"] == str(blake3_digest(b"format = 1\n"))
    assert "dataver.run" not in tags


def test_tags_are_cheap_and_never_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    context = DataverRunContext()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        assert (context.in_context(), context.tags()) == (False, {})
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 0.005
    monkeypatch.setenv("DATAVER_LOCK", "/nowhere/dataver.lock")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (context.in_context(), context.tags()) == (True, {})
