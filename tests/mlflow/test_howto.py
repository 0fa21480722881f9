"""The page about MLflow does what it shows, against a real server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.test_docs import PROJECT, Step, run, section, steps
from tests.mlflow.data import log_model

if TYPE_CHECKING:
    import pytest


def test_commands_do_what_the_page_shows(
    tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    found = steps((PROJECT / "docs" / "howto" / "mlflow.md").read_text(encoding="utf-8"))
    ids: dict[str, str] = {}
    for step in found:
        wrong = run(step, tmp_path, ids)
        assert wrong is None, wrong


def test_the_page_about_importing_does_what_it_shows(tracking: str, tmp_path: Path) -> None:
    import mlflow
    import pandas
    from sklearn.linear_model import LinearRegression

    folder, ids = tmp_path / "here", dict[str, str]()
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train.csv").write_text("x,y\n1,2\n3,4\n")
    os.utime(folder / "data" / "train.csv", (1_700_000_000, 1_700_000_000))
    frame = pandas.read_csv(folder / "data" / "train.csv").astype(float)
    with mlflow.start_run(run_name="first try"):
        source = str(folder / "data" / "train.csv")
        mlflow.log_input(mlflow.data.from_pandas(frame, source=source), "training")
        mlflow.log_param("C", 0.5)
        fitted = LinearRegression().fit(frame[["x"]].to_numpy(), frame["y"].to_numpy())
        log_model(fitted, "inner", registered_model_name="churn")
    found = section("howto/import.md", "MLflow")
    assert len(found) == 2
    for step in [Step(("dataver", "init"), None), *found]:
        wrong = run(step, folder, ids)
        assert wrong is None, wrong
