"""The command line in this process and as a program, in an empty folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dataver.cli import main

PROGRAM = (sys.executable, "-m", "dataver.cli")
PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: empty, in nobody's repository."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command line in this process."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return invoke


@pytest.fixture
def ok(run: Callable[..., Result]) -> Callable[..., str]:
    """Run a command line that must succeed, and return its standard output."""

    def invoke(*arguments: str) -> str:
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    return invoke


@pytest.fixture
def document(ok: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """Run a command line with `--json` that must succeed, and return its one document."""

    def invoke(*arguments: str) -> dict[str, Any]:
        found = json.loads(ok(*arguments, "--json"))
        assert isinstance(found, dict)
        return found

    return invoke


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the real program."""

    def start(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
        settings = {"capture_output": True, "timeout": 60, **settings}
        return subprocess.run([*PROGRAM, *arguments], check=False, **settings)

    return start


@pytest.fixture
def iris(place: Path, ok: Callable[..., str]) -> Path:
    """A folder that is versioned as `iris@v1`, in the repository `.dataver` beside it."""
    folder = place / "iris"
    (folder / "train").mkdir(parents=True)
    (folder / "a.csv").write_text("sepal,petal\n1,2\n")
    (folder / "train" / "b.csv").write_text("x\n" * 100)
    (folder / "train" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "train" / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("a.csv")
    (folder / "hollow").mkdir()
    ok("init")
    ok("commit", "iris", "iris", "-m", "first\n\nin full")
    return folder
