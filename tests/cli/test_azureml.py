"""`export azureml` and `azureml` where Azure's client is not installed: what needs none of it works."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import Result

if TYPE_CHECKING:
    import pytest

Run = Callable[..., Result]
Document = Callable[..., dict[str, Any]]


def test_a_folder_and_a_file_for_az_ml_need_no_client(
    iris: Path, document: Document, ok: Callable[..., str]
) -> None:
    done = document("export", "azureml", "iris@v1", "--to", "out", "--yaml", "iris.yml")
    assert done["asset"] == "azureml:iris:1"
    assert done["workspace"] is None
    assert f'dataver.digest: "{done["tags"]["dataver.digest"]}"' in Path("iris.yml").read_text()
    assert document("verify", "iris@v1", "--at", done["url"])["ok"] is True
    assert "all files are in" in ok("export", "azureml", "iris@v1", "--to", "out", "--yaml", "iris.yml")


def test_files_for_jobs_need_no_client(iris: Path, document: Document, ok: Callable[..., str]) -> None:
    id = document("show", "iris")["id"]
    printed = ok("azureml", "pipeline", "iris@v1")
    assert f"iris@{id}" in printed
    assert "already" not in ok("azureml", "component", "iris@v1", "-o", "train.yml")
    assert Path("train.yml").read_text().startswith("$schema: ")
    assert f"iris@{id} already" in ok("azureml", "bump", "train.yml", "iris")


def test_registering_says_what_to_install(iris: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_spec("azureml") is None, "these tests run where Azure's client is not"
    for name in ("SUBSCRIPTION", "RESOURCEGROUP", "WORKSPACE_NAME"):
        monkeypatch.setenv(f"AZUREML_ARM_{name}", "x")
    for line in (
        ["export", "azureml", "iris", "--to", "az://container"],
        ["audit", "azureml:iris:1"],
        ["lineage", "azureml:iris:1"],
    ):
        result = run(*line)
        assert result.exit_code == 2
        assert "pip install 'dataver[azureml]'" in result.stderr
