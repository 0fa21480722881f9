"""`export azureml` and `azureml` where Azure's client is not installed: what needs none of it works."""

from __future__ import annotations

import signal
import subprocess
import sys
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


def test_an_export_to_a_folder_that_was_killed_goes_on(iris: Path, document: Document) -> None:
    die = """
import os, signal, dataver
from dataver.integrations.azureml.export import export
from dataver.version import Version

def copy(self, path, file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

Version.copy = copy
export(dataver.open(".dataver").version("iris@v1"), to="out", register=False)
"""
    died = subprocess.run([sys.executable, "-c", die], check=False)
    assert died.returncode == -signal.SIGKILL
    assert any(path.read_bytes() == b"half" for path in Path("out").rglob(".*.part"))
    done = document("export", "azureml", "iris@v1", "--to", "out", "--yaml", "iris.yml")
    assert done["written_files"] > 0
    assert document("verify", "iris@v1", "--at", done["url"])["ok"] is True


def test_a_name_may_be_as_long_as_file_systems_let_it_be(
    iris: Path, ok: Callable[..., str], document: Document
) -> None:
    folder = Path("long")
    folder.mkdir()
    (folder / ("n" * 251 + ".csv")).write_text("a\n")
    ok("commit", "long", "long")
    done = document("export", "azureml", "long", "--type", "uri_file", "--to", "out", "--yaml", "long.yml")
    assert Path(done["path"]).read_text() == "a\n"


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
