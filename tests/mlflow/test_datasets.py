"""A version as a data set of MLflow: what a real server keeps of it, and the way back to the bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from uuid import uuid4

import mlflow
import pytest
from mlflow.data import get_source
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import dataver
from dataver.errors import BadInputError, ConflictError, DamagedError, NotFoundError
from dataver.integrations.inputs import DEFINITION_BYTES_MAX, Input
from dataver.repository import Repository
from dataver.version import Version
from tests.damage import flip, place_of
from tests.mlflow.conftest import environment
from tests.mlflow.data import a_repository, write_iris

World = tuple[Repository, Version]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    repository, version = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    return repository, version


def test_an_input_leads_back_to_the_exact_bytes(world: World, tracking: str, tmp_path: Path) -> None:
    _, version = world
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_dataver("iris@v1"), context="training")
    found = mlflow.get_run(run.info.run_id).inputs.dataset_inputs[0]

    assert found.dataset.name == "iris"
    assert found.dataset.digest == version.id[:36]
    assert found.dataset.source_type == "dataver"
    source = json.loads(found.dataset.source)
    assert source["id"] == version.id
    assert source["tree"] == version.tree
    assert source["uri"] == "dataver://iris@v1"
    path = Path(get_source(found).load())
    for name in ("iris.parquet", "README.txt", ".dataver-splits.toml"):
        assert (path / name).read_bytes() == (tmp_path / "data" / name).read_bytes()
        assert os.stat(path / name).st_mode & 0o222 == 0
    columns = {
        column["name"]: column["type"] for column in json.loads(found.dataset.schema)["mlflow_colspec"]
    }
    assert columns["species"] == "long"
    assert columns["petal_width"] == "double"
    assert json.loads(found.dataset.profile)["num_rows"] == 150
    assert json.loads(found.dataset.profile)["num_files"] == 3


def test_load_writes_elsewhere_when_told_to(world: World, tmp_path: Path) -> None:
    source = mlflow.data.from_dataver("iris@v1").source
    path = Path(source.load(dst_path=str(tmp_path / "out")))
    assert (path / "iris.parquet").read_bytes() == (tmp_path / "data" / "iris.parquet").read_bytes()
    one = mlflow.data.from_dataver("iris@v1", "README.txt").source
    assert Path(one.load(str(tmp_path / "one"))).read_text() == "irises\n"
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["README.txt"]

    for name in ("a[1].txt", "a1.txt", "a*.txt"):
        (tmp_path / "data" / name).write_text(name)
    world[0].commit("iris", tmp_path / "data")
    for name in ("a[1].txt", "a*.txt"):
        source = mlflow.data.from_dataver("iris@v2", name).source
        assert Path(source.load(str(tmp_path / name))).read_text() == name
        assert [path.name for path in (tmp_path / name).iterdir()] == [name]


def test_a_flipped_byte_is_found_by_load(world: World, tracking: str) -> None:
    repository, _ = world
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_dataver("iris@v1"), context="training")
    found = mlflow.get_run(run.info.run_id).inputs.dataset_inputs[0]
    flip(repository.session.store, *place_of(repository, "iris.parquet"))
    with pytest.raises(DamagedError):
        get_source(found).load()


def test_parts_have_names_of_their_own_and_load_their_rows(world: World, tracking: str) -> None:
    _, version = world
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_dataver("iris@v1:train"), context="training")
        mlflow.log_input(mlflow.data.from_dataver("iris@v1:test"), context="testing")
    inputs = {found.dataset.name: found for found in mlflow.get_run(run.info.run_id).inputs.dataset_inputs}
    assert set(inputs) == {"iris/train", "iris/test"}
    for part in ("train", "test"):
        found = inputs[f"iris/{part}"]
        rows = get_source(found).load()
        assert rows.equals(version.split(part).to_arrow())
        assert json.loads(found.dataset.profile)["num_rows"] == len(rows)
        assert found.dataset.digest == version.id[:36]


def test_a_second_role_is_kept_which_mlflow_alone_drops(world: World, tracking: str) -> None:
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_dataver("iris@v1"), context="training")
        mlflow.log_input(mlflow.data.from_dataver("iris@v1"), context="testing")
    assert len(mlflow.get_run(run.info.run_id).inputs.dataset_inputs) == 1, "MLflow keeps both now"

    with mlflow.start_run() as run:
        for role in ("training", "testing", "training"):
            dataver.mlflow.log_input("iris@v1", role)
    found = mlflow.get_run(run.info.run_id)
    roles = {
        entry.dataset.name: {tag.key: tag.value for tag in entry.tags}["mlflow.data.context"]
        for entry in found.inputs.dataset_inputs
    }
    assert roles == {"iris": "training", "iris as testing": "testing"}


def test_tags_say_the_whole_id_and_can_be_searched(world: World, tracking: str) -> None:
    repository, version = world
    with mlflow.start_run() as run:
        dataver.mlflow.log_input("iris@v1", "training")
    found = mlflow.get_run(run.info.run_id)
    assert found.data.tags["dataver.input.training"] == f"iris@v1#{version.id}"
    tags = {tag.key: tag.value for tag in found.inputs.dataset_inputs[0].tags}
    assert tags["dataver.id"] == version.id
    assert tags["dataver.repository"] == repository.id
    experiment = found.info.experiment_id
    for query in (
        f"tags.`dataver.input.training` = 'iris@v1#{version.id}'",
        f"dataset.digest = '{version.id[:36]}' and dataset.name = 'iris'",
    ):
        rows = MlflowClient().search_runs([experiment], filter_string=query)
        assert [row.info.run_id for row in rows] == [run.info.run_id]


def test_several_inputs_of_one_role_have_tags_of_their_own(
    world: World, tracking: str, tmp_path: Path
) -> None:
    repository, _ = world
    repository.commit("other", write_iris(tmp_path / "other", 2))
    with mlflow.start_run() as run:
        dataver.mlflow.log_input("iris@v1", "training")
        dataver.mlflow.log_input("other@v1", "training")
        dataver.mlflow.log_input("other@v1", "training")
    tags = mlflow.get_run(run.info.run_id).data.tags
    assert tags["dataver.input.training"].startswith("iris@v1#")
    assert tags["dataver.input.training.2"].startswith("other@v1#")
    assert "dataver.input.training.3" not in tags


def test_the_digest_fits_into_what_mlflow_has_room_for(world: World, tracking: str) -> None:
    _, version = world
    with mlflow.start_run(), pytest.raises(MlflowException, match="36"):
        mlflow.log_input(mlflow.data.from_dataver("iris@v1", digest=version.id[:37]))


def test_the_source_depends_on_the_version_alone(world: World) -> None:
    first, second = (mlflow.data.from_dataver(ref).to_dict() for ref in ("iris@v1", "iris@latest"))
    assert first == second


def test_the_plug_ins_are_there_whatever_is_imported_first() -> None:
    assert hasattr(mlflow.data, "from_dataver"), "MLflow was imported first here"
    script = (
        "import sys, dataver.integrations.mlflow.dataset, mlflow.data\nassert mlflow.data.from_dataver\n"
        "assert 'dataver.version' not in sys.modules"  # Importing MLflow is slow enough.
    )
    done = subprocess.run(
        [sys.executable, "-W", "error:Failure attempting", "-c", script],
        env=environment({}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_data_frame_can_have_a_version_as_its_source(world: World, tracking: str) -> None:
    _, version = world
    frame = version.to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        data = mlflow.data.from_pandas(frame, source="dataver://iris@v1", name="iris", targets="species")
    assert json.loads(data.to_dict()["source"])["id"] == version.id
    assert data.to_dict()["source_type"] == "dataver"
    file = mlflow.data.from_pandas(frame, source="dataver://iris@v1/iris.parquet")
    assert Path(file.source.load()).name == "iris.parquet"
    handle = mlflow.data.from_pandas(frame, source=version.split("train"))
    assert handle.source.load().num_rows == version.split("train").num_rows


def test_a_source_of_a_uri_alone_is_looked_up(world: World) -> None:
    _, version = world
    source = mlflow.data.dataset_source_registry.get_dataset_source_from_json(
        json.dumps({"uri": "dataver://iris@v1"}), "dataver"
    )
    assert source.open().id == version.id


def test_a_repository_that_moved_is_found_by_the_environment(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, version = world
    source = mlflow.data.from_dataver("iris@v1").source
    monkeypatch.delenv("DATAVER_REPO")
    monkeypatch.chdir(tmp_path)
    assert source.open().id == version.id, "where it was"
    moved = str(tmp_path / "moved")
    shutil.move(repository.url, moved)
    with pytest.raises(NotFoundError, match="DATAVER_REPO"):
        source.load()
    monkeypatch.setenv("DATAVER_REPO", moved)
    assert source.open().id == version.id
    monkeypatch.delenv("DATAVER_REPO")
    assert source.open(moved).id == version.id


def test_another_repository_with_the_same_names_gives_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, version = world
    source = mlflow.data.from_dataver("iris@v1").source
    other = dataver.init(str(tmp_path / "other"))
    other.commit("iris", write_iris(tmp_path / "data", 2))
    monkeypatch.setenv("DATAVER_REPO", other.url)
    assert source.open().id == version.id, "the other one is passed over"
    shutil.rmtree(repository.url)
    with pytest.raises(NotFoundError):
        source.load()


def test_no_secret_reaches_the_server(tracking: str, tmp_path: Path) -> None:
    secret = "c2VjcmV0-canary"
    repository = dataver.init(f"memory://{uuid4().hex}", storage_options={"sas_token": f"sig={secret}"})
    repository.commit("iris", write_iris(tmp_path / "data"))
    with mlflow.start_run() as run:
        dataver.mlflow.log_input(repository.version("iris"), "training")
        dataver.mlflow.log_input(repository.version("iris").split("test"), "testing")
        link = dataver.mlflow.metadata()
    found = MlflowClient().get_run(run.info.run_id)
    assert len(found.inputs.dataset_inputs) == 2
    assert secret not in json.dumps([found.to_dictionary(), link])


def test_a_long_definition_is_told_by_its_digest(world: World, tmp_path: Path) -> None:
    _, version = world
    long = {"format": 1, "kind": "list", "keys": ["id"], "parts": {"train": list(range(20_000))}}
    view = version.split("train", long)
    given = Input.of(view)
    document = given.document()
    assert document["split"]["definition"] is None
    assert len(json.dumps(document)) < DEFINITION_BYTES_MAX
    assert len(json.dumps(dataver.mlflow.metadata({"training": view}))) < DEFINITION_BYTES_MAX
    with pytest.raises((BadInputError, ConflictError)):
        mlflow.data.dataset_source_registry.get_dataset_source_from_json(
            json.dumps(document), "dataver"
        ).open()


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"id": "a"},
        {"dataset": 1, "id": "a", "tree": "b", "repository": "c"},
        {"version": 3},
        [],
        {"dataset": "iris", "id": "latest", "tree": "b", "repository": "c"},
        {"dataset": "iris", "id": "a" * 64, "tree": "b", "repository": "c", "split": 3},
    ],
)
def test_a_malformed_source_is_said_to_be_one(document: object) -> None:
    with pytest.raises(BadInputError, match="malformed"):
        mlflow.data.dataset_source_registry.get_dataset_source_from_json(json.dumps(document), "dataver")


def test_files_that_are_no_tables_have_no_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = dataver.init(str(tmp_path / "repository"))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    (tmp_path / "texts" / "b.parquet").write_text("no Parquet at all")
    repository.commit("texts", tmp_path / "texts")
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    found = mlflow.data.from_dataver("texts").to_dict()
    assert "schema" not in found
    assert json.loads(found["profile"]) == {"num_files": 2, "num_bytes": 18}


def test_who_lacks_the_plug_in_is_told_by_mlflow(
    world: World, tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow.start_run() as run:
        dataver.mlflow.log_input("iris@v1", "training")
    found = mlflow.get_run(run.info.run_id).inputs.dataset_inputs[0]
    registry = mlflow.data.dataset_source_registry._dataset_source_registry
    others = [source for source in registry.sources if source._get_source_type() != "dataver"]
    monkeypatch.setattr(registry, "sources", others)
    with pytest.raises(MlflowException, match="unrecognized source type: dataver"):
        get_source(found)
