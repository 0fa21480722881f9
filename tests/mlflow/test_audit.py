"""The question, end to end: which data made this model? Under a real server, with a real model."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import mlflow
import pytest
from mlflow.tracking import MlflowClient

import dataver
from dataver.errors import BadInputError, RefNotFoundError
from dataver.lineage.audit import audit as audited
from dataver.repository import Repository
from dataver.results import Json
from dataver.version import Version
from tests.damage import flip, place_of
from tests.mlflow.conftest import dataver_program, free_port, run_program
from tests.mlflow.data import a_repository, log_model, train

World = tuple[Repository, Version]

SCRIPT = """
import mlflow, pandas
from tests.mlflow.data import COLUMNS, log_model
from sklearn.linear_model import LogisticRegression

table = pandas.read_parquet("dataver://iris@v1/iris.parquet")
with mlflow.start_run() as run:
    mlflow.log_param("max_iter", 1000)
    model = LogisticRegression(max_iter=1000).fit(table[COLUMNS].to_numpy(), table["species"].to_numpy())
    logged = log_model(model, "irism", registered_model_name=NAME)
print(run.info.run_id, logged.model_id)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    repository, version = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    return repository, version


def audit(what: str, code: int = 0, *, verify: bool = False) -> Json:
    """The report of an audit, which ends with this exit code."""
    found = audited(dataver.open(), what, verify=verify).to_json()
    assert found["exit_code"] == code, found
    return found


def evidence(report: Json) -> dict[str, bool | None]:
    return {one["source"]: one["agrees"] for one in report["evidence"]}


def test_from_the_data_to_an_audited_model_with_no_change_to_the_code(
    world: World, tracking: str, tmp_path: Path
) -> None:
    repository, version = world
    name = f"irism-{uuid4().hex[:8]}"
    (tmp_path / "train.py").write_text(SCRIPT.replace("NAME", repr(name)))
    done = run_program("run", "--", "python", str(tmp_path / "train.py"))
    assert done.returncode == 0, done.stderr
    run_id, model_id = done.stdout.split()[-2:]

    # MLflow knows what was read, and by which run of dataver.
    there = MlflowClient().get_run(run_id)
    (given,) = there.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("iris", version.id[:36])
    assert version.id in json.dumps(there.data.tags)
    MlflowClient().set_registered_model_alias(name, "prod", "1")

    for asked in (
        f"models:/{name}/1",
        f"models:/{name}@prod",
        f"models:/{name}/latest",
        f"models:/{model_id}",
        f"runs:/{run_id}",
    ):
        report = audit(asked)
        assert report["status"] == "traced", asked
        assert report["run"]["id"] == there.data.tags["dataver.run"], asked
        assert [one["id"] for one in report["data"]] == [version.id], asked
        agreed = evidence(report)
        assert (agreed["run record"], agreed["tracker"]) == (True, True), asked
        if asked.startswith("models:"):
            assert (agreed["model metadata"], agreed["model files"]) == (True, True), asked
    assert audit(f"models:/{name}/1", verify=True)["verified"] is True
    asked_too = audited(dataver.open(), "irism@v1", tracker=True).to_json()
    assert evidence(asked_too)["tracker"] is True

    # The folder alone says it, wherever it is.
    folder = mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(tmp_path / "copy"))
    moved = shutil.move(folder, tmp_path / "elsewhere")
    report = audit(str(moved), verify=True)
    assert evidence(report)["model metadata"] is True
    # MLflow puts a file about its registry beside those that were logged.
    assert report["model"]["found_by"] == "metadata"
    (Path(moved) / "registered_model_meta").unlink()
    assert audit(str(moved))["model"]["found_by"] == "files"

    # One byte of the data in the repository's packs.
    flip(repository.session.store, *place_of(repository, "iris.parquet"))
    done = run_program("audit", f"models:/{name}/1", "--verify")
    assert done.returncode == 5
    assert "iris@v1!iris.parquet" in done.stdout
    assert "iris@v1!" in done.stderr


def test_a_model_that_nobody_recorded_cannot_be_traced(world: World, tracking: str) -> None:
    _, version = world
    name = f"other-{uuid4().hex[:8]}"
    with mlflow.start_run():
        logged = log_model(train(version), "other", registered_model_name=name)
    assert audit(f"models:/{logged.model_id}", code=3)["status"] == "not traceable"
    assert "cannot be traced" in dataver_program("audit", f"models:/{name}/1", code=3)
    for absent in ("models:/nothing/1", "models:/m-0123456789abcdef0123456789abcdef", f"runs:/{'f' * 32}"):
        with pytest.raises(RefNotFoundError, match=re.escape(tracking)):
            audit(absent)
    for malformed in ("models:/", "models:/a/b/c", "runs:/"):
        with pytest.raises(BadInputError, match="names no"):
            audit(malformed)


def test_what_mlflow_alone_was_told_can_be_traced(world: World, tracking: str, tmp_path: Path) -> None:
    _, version = world
    with mlflow.start_run() as run:
        dataver.mlflow.log_input("iris@v1:train", "training")
        logged = log_model(train(version), "irism", metadata=dataver.mlflow.metadata())
    report = audit(f"runs:/{run.info.run_id}", verify=True)
    assert [one["part"] for one in report["data"]] == ["train"]
    assert evidence(report) == {
        "run record": None,
        "tracker": None,
        "model metadata": None,
        "model files": None,
    }

    folder = mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(tmp_path / "copy"))
    report = audit(folder)
    assert [one["id"] for one in report["data"]] == [version.id]
    assert any("own files" in warning for warning in report["warnings"])

    # Once it is linked, the record counts, and the others agree with it.
    dataver_program("link", run.info.run_id, "iris@v1:train")
    report = audit(logged.model_uri)
    assert evidence(report)["tracker"] is True
    assert evidence(report)["model metadata"] is True


def test_a_tracker_that_contradicts_the_record_is_named(world: World, tracking: str, tmp_path: Path) -> None:
    repository, _ = world
    (tmp_path / "data" / "more.txt").write_text("more")
    second = repository.commit("iris", tmp_path / "data")
    with mlflow.start_run() as run:
        pass
    dataver_program("link", run.info.run_id, "iris@v1")
    MlflowClient().set_tag(run.info.run_id, "dataver.input.testing", f"iris@v2#{second.id}")
    assert second.id in json.dumps(audit(f"runs:/{run.info.run_id}", code=5)["broken"])


def test_inputs_of_autologging_are_named_as_no_versions(world: World, tracking: str) -> None:
    _, version = world
    mlflow.sklearn.autolog(log_models=False, silent=True)
    try:
        with mlflow.start_run() as run:
            dataver.mlflow.log_input("iris@v1", "training")
            train(version)
    finally:
        mlflow.sklearn.autolog(disable=True)
    names = {given.dataset.source_type for given in mlflow.get_run(run.info.run_id).inputs.dataset_inputs}
    assert names == {"code", "dataver"}
    report = audit(f"runs:/{run.info.run_id}")
    assert any("no version" in warning for warning in report["warnings"])


def test_a_version_without_its_run_is_traced_by_the_model_it_comes_from(
    world: World, tracking: str, database: Path
) -> None:
    _, version = world
    with mlflow.start_run() as there, dataver.run("train") as run:
        logged = log_model(train(dataver.resolve("iris@v1")), "irism")
    client, name = MlflowClient(), f"irism-{uuid4().hex[:8]}"
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, logged.model_uri, model_id=logged.model_id)
    # As older servers have what was registered in their pages; and a run that was deleted for good.
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, run_id in enumerate((None, "f" * 32), 1):
            connection.execute(
                "UPDATE model_versions SET run_id = ? WHERE name = ? AND version = ?", (run_id, name, number)
            )
    assert not client.get_model_version(name, "1").run_id
    report = audit(f"models:/{name}/1")
    assert (report["run"]["id"], evidence(report)["tracker"]) == (run.id, True)
    report = audit(f"models:/{name}/2")
    assert (report["run"]["id"], report["model"]["found_by"]) == (run.id, "files")
    assert evidence(report)["tracker"] is None
    assert there.info.run_id in json.dumps(report["run"]["trackers"])
    assert [one["id"] for one in report["data"]] == [version.id]


def test_a_server_that_does_not_answer_is_told_without_its_password(
    world: World, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(f"http://ana:canary-pw@127.0.0.1:{free_port()}")
    try:
        for arguments in (("audit", "models:/churn/1"), ("link", "f" * 32, "iris@v1")):
            told = dataver_program(*arguments, code=7)
            assert "MLflow at http://ana@127.0.0.1" in told
            assert "canary-pw" not in told
    finally:
        mlflow.set_tracking_uri(None)
