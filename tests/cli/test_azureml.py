"""`export azureml` and `azureml` where Azure's client is not installed: what needs none of it works."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import dataver
from dataver.integrations.azureml.export import export
from dataver.progress import Silent
from dataver.version import Version

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

def copy(self, path, file, advance=None):
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


def test_an_interrupt_waits_for_no_large_file(iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copying = threading.Event()
    ends: list[str] = []

    def copy(self: Version, path: str, target: Any, advance: Callable[[int], object] | None = None) -> None:
        """As slow as that of a file of many gigabytes."""
        if path == first:
            return
        assert advance is not None
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                copying.set()
                advance(1)
            ends.append("all was copied")
        except CancelledError:
            ends.append("cancelled")
            raise

    class Interrupted(Silent):
        def advance(self, files: int = 0, size_bytes: int = 0) -> None:
            assert copying.wait(60)
            raise KeyboardInterrupt

    version = dataver.open(".dataver").version("iris@v1")
    first = next(entry.path for entry in version.files() if entry.kind == "file")
    monkeypatch.setattr(Version, "copy", copy)
    with pytest.raises(KeyboardInterrupt):
        export(version, to="out", register=False, jobs=2, progress=Interrupted())
    assert set(ends) == {"cancelled"}
    assert not [path for path in Path("out").rglob("*") if path.is_file() and path.name != Path(first).name]


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
