"""A dataset that a model can be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dataver
from dataver.repository import Repository
from dataver.version import Version

SPLITS = """\
format = 1
kind = "hash"
keys = ["id"]

[parts]
train = 0.8
test = 0.2
"""


def write_iris(folder: Path, copies: int = 1) -> Path:
    """Scikit-learn's irises with an id, as a Parquet file, beside a text and the definition of a split."""
    import pyarrow
    import pyarrow.parquet
    from sklearn.datasets import load_iris

    found = load_iris()
    rows: dict[str, list[Any]] = {"id": list(range(len(found.target) * copies))}
    for place, name in enumerate(("sepal_length", "sepal_width", "petal_length", "petal_width")):
        rows[name] = [float(value) for value in found.data[:, place]] * copies
    rows["species"] = [int(value) for value in found.target] * copies
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(rows), folder / "iris.parquet")
    (folder / "README.txt").write_text("irises\n")
    (folder / ".dataver-splits.toml").write_text(SPLITS)
    return folder


def a_repository(folder: Path) -> tuple[Repository, Version]:
    """A repository in a folder, with `iris@v1`."""
    repository = dataver.init(str(folder / "repository"))
    repository.commit("iris", write_iris(folder / "data"), message="irises")
    return repository, repository.version("iris@v1")


def train(version: Version) -> object:
    """A model of scikit-learn, trained on the version."""
    from sklearn.linear_model import LogisticRegression

    table = version.to_arrow().to_pandas()
    columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    return LogisticRegression(max_iter=1000).fit(table[columns].to_numpy(), table["species"].to_numpy())
