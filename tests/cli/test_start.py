"""How little a command imports: what it imports is most of what it takes on a small repository."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

# None is needed to read a history, nor to see that nothing changed.
HEAVY = {
    *("numpy", "pyarrow", "fsspec", "rich", "pyfastcdc", "pandas", "adlfs", "asyncio", "typing_extensions"),
    *("concurrent.futures", "logging", "ctypes", "hashlib", "secrets", "random", "tempfile", "shutil"),
    *("importlib.metadata", "base64"),
}
SCRIPT = """
import atexit, sys
from dataver.cli import main
atexit.register(lambda: print("LOADED", *sys.modules, file=sys.stderr))
main()
"""


@pytest.fixture
def repository(place: Path, ok: Callable[..., str]) -> None:
    """`iris`, of one small folder, in a repository here."""
    (place / "data").mkdir()
    for number in range(5):
        (place / "data" / f"{number}.csv").write_text(f"{number}\n")
    time.sleep(0.15)  # younger files may change unseen, and are read again
    ok("init")
    ok("commit", "iris", "data", "-m", "first", "--author", "me")


def loaded_by(*arguments: str) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return set(process.stderr.partition("LOADED ")[2].split())


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("arguments", "modules_max"),
    [
        (["list"], 64),
        (["log", "iris"], 69),
        (["show", "iris", "--json"], 73),
        (["ls", "iris"], 80),
        (["diff", "iris", "iris"], 69),
        (["status", "iris"], 92),
        (["commit", "iris", "data", "-m", "again", "--author", "me"], 108),
    ],
)
def test_a_light_command_imports_little(arguments: list[str], modules_max: int) -> None:
    """The bounds are what is imported now and a few: who adds a module to a command means to."""
    loaded = loaded_by(*arguments)
    own = {name for name in loaded if name.partition(".")[0] == "dataver"}
    assert "dataver.repository" in own
    assert sorted(loaded & HEAVY) == []
    assert len(own) <= modules_max, sorted(own)


@pytest.mark.usefixtures("repository")
def test_a_checkout_imports_nothing_for_tables() -> None:
    loaded = loaded_by("checkout", "iris", "out")
    assert Path("out/3.csv").read_text() == "3\n"
    assert not loaded & {"numpy", "pyarrow", "fsspec", "rich", "pyfastcdc", "pandas"}
