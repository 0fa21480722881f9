"""Under `python -X dev -W error` nothing warns: no file is left open, nothing deprecated is used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dataver.repository import init
from tests.cli.test_access import READ_ONLY, WRITES, filled

PROJECT = Path(__file__).parents[2]
LAST = (
    "revert iris@v1",
    "rename iris flowers",
    "delete flowers",
    "gc --yes --grace 0d",
    "doctor",
    "hold",
    "verify --deep",
)

# Each as the program would do it, one after the other: what is not closed is told when it is collected.
LINES = """
import gc, sys
from dataver.cli import main
for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as end:
        assert not end.code, line
    gc.collect()
"""


@pytest.fixture(autouse=True)
def dev_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every Python that is started, also by what is started."""
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def complaints(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_demo(place: Path) -> None:
    assert complaints("sh", str(PROJECT / "docs" / "demo" / "demo.sh")) == ""


def test_verbs(place: Path) -> None:
    filled(init(place / ".dataver"), place)
    # After these the others would not find what they look for.
    writes = [line for verb, line in WRITES.items() if verb not in ("revert", "rename", "delete")]
    told = complaints(sys.executable, "-c", LINES, *READ_ONLY.values(), *writes, *LAST)
    assert [line for line in told.splitlines() if not line.startswith("note: ")] == []


def test_a_run_and_its_children(place: Path, iris: Path) -> None:
    child = "import dataver; dataver.resolve('iris').path()"
    (place / "train.py").write_text(
        "import dataver, subprocess, sys\n"
        "print(dataver.resolve('iris').read('a.csv'))\n"
        f'subprocess.run([sys.executable, "-c", "{child}"], check=True)\n'
    )
    told = complaints("dataver", "run", "--", sys.executable, "train.py")
    # What it tells of the run itself goes there too.
    assert re.fullmatch(r"run \w+ +train +done\n +inputs: iris@v1\n", told), told


def test_a_container(place: Path, azure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "data").mkdir()
    (place / "data" / "a.csv").write_text("x\n1\n")
    lines = [
        f"init {azure}", "init elsewhere", "commit iris data -m first", "cat iris a.csv",
        "checkout iris out", "verify --deep", "gc --yes", "push --to elsewhere", "doctor",
    ]  # fmt: skip
    monkeypatch.setenv("DATAVER_REPO", azure)
    assert of_programs(complaints(sys.executable, "-c", LINES, *lines)) == []
    read = "import fsspec\nwith fsspec.open('dataver://iris@v1/a.csv') as file: print(file.read())"
    assert of_programs(complaints(sys.executable, "-c", read)) == []


def of_programs(told: str) -> list[str]:
    """Without what asyncio tells of a machine that is busy with other things."""
    return [line for line in told.splitlines() if not re.match(r"Executing <.*> took [\d.]+ seconds$", line)]
