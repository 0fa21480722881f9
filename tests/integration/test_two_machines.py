"""Two machines with caches of their own: what one does, the other notices, however warm its cache is."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.erased import pieces

PROJECT = Path(__file__).parents[2]
SECRET = random.Random("secret").randbytes(50_000)
FIRST = {"a": random.Random("a").randbytes(80_000), "secret": SECRET, "label": b"label\n" * 30}
TRIAL = {"x": random.Random("x").randbytes(120_000)}

READER = """
import sys
import dataver
version = dataver.open(sys.argv[1]).version("iris@v1")
print(version.path("secret"))
print(len(version.read("a")), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine is its caches, its home and its folders; every command is a process of its own."""

    url: str
    home: Path

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def environment(self) -> dict[str, str]:
        own = {"HOME": str(self.home), "DATAVER_CACHE_DIR": str(self.cache), "PYTHONPATH": str(PROJECT)}
        return os.environ | own | {"DATAVER_REPO": self.url, "DATAVER_SPOOL_DIR": str(self.home / "runs")}

    def run(self, *line: str, code: int = 0) -> bytes:
        """What a command prints; where it is to fail, what it says of that."""
        return self._started([sys.executable, "-m", "dataver.cli", *line], code)

    def python(self, program: str) -> bytes:
        return self._started([sys.executable, "-c", program, self.url], 0)

    def folder(self, name: str, files: dict[str, bytes]) -> str:
        place = self.home / name
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        for path, data in files.items():
            (place / path).write_bytes(data)
        return str(place)

    def holds(self, data: bytes) -> list[Path]:
        """The files of its caches in which any piece of these bytes is."""
        files = [path for path in self.cache.rglob("*") if path.is_file()]
        return [path for path in files if any(piece in path.read_bytes() for piece in pieces(data))]

    def _started(self, line: list[str], code: int) -> bytes:
        done = subprocess.run(
            line, cwd=self.home, env=self.environment(), capture_output=True, check=False, timeout=300
        )
        assert done.returncode == code, (line, done.stdout[-500:], done.stderr)
        return done.stderr if code else done.stdout


@pytest.fixture(params=["azure", "a shared disk"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Machine, Machine]:
    url = request.getfixturevalue("azure") if request.param == "azure" else str(tmp_path / "repository")
    made = [Machine(url, tmp_path / name) for name in ("one", "two")]
    for machine in made:
        machine.home.mkdir()
    return made[0], made[1]


def test_a_collection_and_an_erasure_elsewhere_are_noticed(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    one.run("init", one.url)
    one.run("commit", "iris", one.folder("data", FIRST), "-m", "first")
    one.run("commit", "iris", one.folder("trial", TRIAL), "--branch", "trial", "--base", "iris@main")
    trial = json.loads(one.run("show", "iris@trial", "--json"))["id"]
    # The caches of the first are warm now, with what will go too.
    assert one.run("cat", "iris@trial", "x") == TRIAL["x"]
    one.run("checkout", "iris@v1", "out")
    copy, size = one.python(READER).decode().split()
    assert (Path(copy).read_bytes(), int(size)) == (SECRET, 80_000)

    # The second collects what the first could still give from its cache.
    two.run("branch", "iris", "trial", "--delete")
    assert json.loads(two.run("gc", "--yes", "--grace", "0d", "--json"))["swept"] > 0
    assert b"has no version" in one.run("cat", f"iris@{trial}", "x", code=3)
    assert one.run("cat", "iris", "a") == FIRST["a"]
    # The first knows of these chunks by its cache; it must store them again, and not rely on what it knows.
    one.run("commit", "again", one.folder("trial", TRIAL), "-m", "again")
    assert two.run("cat", "again", "x") == TRIAL["x"]
    two.run("verify", "--deep")

    # The second erases; the first has the bytes in its cache and a local copy of them.
    two.run("erase", "iris", "secret", "--reason", "asked to", "--yes")
    assert b"asked to" in one.run("cat", "iris@v1", "secret", code=3)
    assert one.holds(SECRET) == []
    assert not Path(copy).exists()
    assert two.holds(SECRET) == []
    assert b"erased" in one.run("commit", "iris", one.folder("data", FIRST), "--allow-empty", code=2)
    one.folder("data", FIRST | {"secret": b"nothing"})
    one.run("commit", "iris", "data", "-m", "without it")
    assert two.run("cat", "iris@v2", "secret") == b"nothing"
    one.run("verify", "--deep")
    two.run("verify", "--deep")
