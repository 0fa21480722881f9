"""A dataset with a card, sources, a split and two versions, another one made of it, and a model of both."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import dataver
from dataver.repository import Repository

CARD = """\
+++
licence = "CC-BY-4.0"
owner = "Example Institute"
sensitivity = "internal"
collection = "measured by hand"
preparation = "duplicates removed"
known_limits = "three kinds only"
intended_use = "teaching"
annotators = "two botanists"
personal_data = "none"
update_mechanism = "each spring"
citation = "Example, A. (2026). Irises."
homepage = "https://data.example.org/iris"
keywords = ["flowers", "botany"]
+++

# Irises

Sizes of sepals and petals, a row for each flower.
"""
SPLITS = """\
format = 1
kind = "hash"
keys = ["id"]

[parts]
train = 0.8
test = 0.2
"""
TIME = "2026-01-31T09:30:00Z"
LATER = "2026-02-28T09:30:00Z"
CANARY = "cAnArY7x9q"


@dataclass(frozen=True, slots=True)
class World:
    """A repository, and the ids of the run and the model that are in it."""

    repository: Repository
    folder: Path
    run: str
    model: str = "model:churn@v1"


def write_iris(folder: Path, rows: int = 150) -> Path:
    """Two tables of one kind, another one, a text, a card and the definition of a split."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    half = rows // 2
    for number, part in enumerate((range(half), range(half, rows))):
        pq.write_table(_table(part), folder / "train" / f"part-{number}.parquet")
    kinds = {"kind": [0, 1, 2], "name": ["setosa", "versicolor", "virginica"]}
    pq.write_table(pa.table(kinds), folder / "kinds.parquet")
    (folder / "notes.txt").write_text("irises\n")
    (folder / "README.md").write_text(CARD)
    (folder / ".dataver-splits.toml").write_text(SPLITS)
    return folder


def _table(ids: range) -> pa.Table:
    return pa.table({
        "id": pa.array(ids, pa.int64()),
        "length": pa.array([number / 10 if number % 7 else None for number in ids], pa.float64()),
        "kind": pa.array([f"kind {number % 3}" for number in ids]),
        "fresh": pa.array([number % 2 == 0 for number in ids]),
        "day": pa.array(list(ids), pa.date32()),
        "tags": pa.array([["a"] * (number % 3) for number in ids], pa.list_(pa.string())),
    })  # fmt: skip


def made_world(folder: Path) -> World:
    """All of it, in a folder."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    (folder / "train.py").write_text("print('training')\n")
    (folder / ".gitignore").write_text("*\n!train.py\n!.gitignore\n")
    remote = f"https://ada:{CANARY}@git.example/iris.git"
    for arguments in (
        ["init", "-q"],
        ["remote", "add", "origin", remote],
        ["add", "."],
        ["commit", "-qm", "first"],
    ):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    repository = dataver.init(str(folder / ".dataver"))
    source = {
        "url": "https://data.example.org/raw.zip",
        "licence": "CC-BY-4.0",
        "digest": "sha256:" + "ab" * 32,
    }
    repository.commit(
        "iris", write_iris(folder / "data"), message="irises", time=TIME, sources=[source],
        meta={"ticket": "17"},
    )  # fmt: skip
    repository.commit("iris", write_iris(folder / "data", 200), message=f"password={CANARY}", time=LATER)
    (folder / "clean").mkdir()
    (folder / "clean" / "rows.csv").write_text("x\n1\n")
    repository.commit("clean/iris", folder / "clean", time=LATER, derived_from=["iris@v1"])
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"weights")
    params = {"lr": 0.1, "layers": [8, 8], "api_key": CANARY}
    with dataver.run("train", params=params, repo=repository) as run:
        repository.version("iris@v2").read("notes.txt")
        run.use("iris@v1", "training", split="train")
        run.use("iris@v1", "test", split="test")
        run.seed(7)
        run.log_metric("auc", 0.9)
        run.log_model(
            "churn", folder / "model", uri="https://models.example.org/churn/1", meta={"kind": "tree"}
        )
        repository.commit("predictions", folder / "clean", time=LATER)
    return World(repository, folder, run.id)


def program(*arguments: str, code: int = 0) -> str:
    """What the command line prints, in this process; its errors where it is to fail."""
    from click.testing import CliRunner

    from dataver.cli import main

    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout
