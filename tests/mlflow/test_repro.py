"""A model of scikit-learn, trained again by the program: the same data and parameters give the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataver.repository import Repository
from tests.mlflow.conftest import run_program
from tests.mlflow.data import a_repository

TRAIN = """\
import pickle
import sys

import dataver
from sklearn.ensemble import RandomForestClassifier

with dataver.run("train", params={"trees": 20}) as run:
    seed = run.seed(7)
    table = run.use("iris", role="training", split="train").to_arrow().to_pandas().sort_values("id")
    features, species = table.drop(columns=["id", "species"]).to_numpy(), table["species"].to_numpy()
    model = RandomForestClassifier(n_estimators=20, random_state=seed).fit(features, species)
    with open("model.pkl", "wb") as file:
        pickle.dump(model, file)
    run.log_metric("accuracy", model.score(features, species))
    run.log_model("iris", "model.pkl")
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """`iris@v1`, and a git repository with the trainer as the current folder."""
    found, _ = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", found.url)
    monkeypatch.setenv("DATAVER_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "Ada Example")
        monkeypatch.setenv(f"{name}_EMAIL", "ada@example.org")
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    (project / "train.py").write_text(TRAIN)
    (project / ".gitignore").write_text("model.pkl\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "A trainer"]):
        subprocess.run(["git", *command], check=True)
    return found


def document(*arguments: str, code: int = 0) -> dict[str, Any]:
    done = run_program(arguments[0], "--json", *arguments[1:])
    assert done.returncode == code, (done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def change_a_row(repository: Repository, folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    place = folder / "iris.parquet"
    table = pyarrow.parquet.read_table(place)
    species = table["species"].to_pylist()
    species[0] = 2
    at = table.column_names.index("species")
    pyarrow.parquet.write_table(table.set_column(at, "species", pyarrow.array(species)), place)
    repository.commit("iris", folder, message="one row was wrong")


def test_the_same_data_and_parameters_give_the_same_model(repository: Repository, tmp_path: Path) -> None:
    subprocess.run(["python", "train.py"], check=True)
    change_a_row(repository, tmp_path / "data")
    done = document("repro", "iris@v1")
    assert done["status"] == "equal"
    assert [(one["kind"], one["state"]) for one in done["results"]] == [
        ("model", "equal"), ("metric", "equal"),
    ]  # fmt: skip
    assert done["first"] is None


def test_one_changed_row_is_named(repository: Repository, tmp_path: Path) -> None:
    subprocess.run(["python", "train.py"], check=True)
    change_a_row(repository, tmp_path / "data")
    subprocess.run(["python", "train.py"], check=True)
    found = document("runs", "diff", "iris@v1", "iris@v2")
    assert (found["first"]["ingredient"], found["first"]["name"]) == ("data", "iris:train as training")
    assert (found["first"]["before"], found["first"]["after"]) == ("iris@v1:train", "iris@v2:train")
    assert found["first"]["rows"] == [150, 150]
    assert {one["ingredient"] for one in found["differences"]} == {"data", "results"}
