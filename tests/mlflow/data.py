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


COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def log_model(model: object, name: str, **options: Any) -> Any:
    """Log a model of scikit-learn, in the one form that runs no code when it is loaded.

    MLflow would look for its requirements in processes of its own, which takes its time.
    """
    import mlflow

    return mlflow.sklearn.log_model(
        model, name=name, pip_requirements=["scikit-learn"], serialization_format="skops",
        skops_trusted_types=["numpy.dtype"], **options,
    )  # fmt: skip


def train(version: Version) -> object:
    """A model of scikit-learn, trained on the version."""
    from sklearn.linear_model import LogisticRegression

    table = version.to_arrow().to_pandas()
    return LogisticRegression(max_iter=1000).fit(table[COLUMNS].to_numpy(), table["species"].to_numpy())
