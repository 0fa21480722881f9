"""A process killed at any moment leaves what was there, whole, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataver.repository import Repository, init, open_repository

COMMITTER = """
import os, sys
from pathlib import Path
from dataver.repository import open_repository

place, data = sys.argv[1], Path(sys.argv[2])
repository = open_repository(place)
import dataver.commit
print("ready", flush=True)
for number in range(10_000):
    (data / f"{number % 7}.bin").write_bytes(os.urandom(1 + number * 7919 % 300_000))
    (data / "number").write_text(str(number))
    repository.commit("d", data, message=str(number))
    print("committed", flush=True)
"""

CHECKOUT = """
import sys
import dataver.checkout
from dataver.repository import open_repository

print("ready", flush=True)
open_repository(sys.argv[1]).checkout("d", sys.argv[2])
"""


def killed_after(seconds: float, program: str, *arguments: object, commits: int = 0) -> bool:
    """Kill a Python program so long after it said that it is ready, and then that it made so many commits.

    False where it ended before.
    """
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as output:
        assert output.readline() == b"ready\n"
        for _ in range(commits):
            assert output.readline() == b"committed\n"
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
    assert child.returncode in (0, -signal.SIGKILL)
    return child.returncode != 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def attack(tmp_path: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    place, data = tmp_path / "repository", tmp_path / "data"
    data.mkdir()
    init(str(place))
    seen = 0
    for kill in range(kills):
        assert killed_after(rng.uniform(0.0, 0.1), COMMITTER, place, data, commits=rng.randrange(1, 5))
        repository = open_repository(str(place))
        versions = list(repository.log("d"))
        assert [version.version for version in versions] == [f"v{n}" for n in range(len(versions), 0, -1)]
        assert len(versions) >= seen, "a committed version is gone"
        seen = len(versions)
        head = repository.version("d")
        assert head.read("number").decode() == head.info.message
        assert all(len(head.read(file.path)) == file.size for file in head.files())
        target = tmp_path / f"out-{kill}"
        (data / "after").write_text(str(kill))
        # What a killed child wrote before it was killed is committed here, under its number.
        done = repository.commit("d", data, message=(data / "number").read_text())
        assert done.created
        repository.checkout("d", target)
        assert contents(target) == contents(data)
        seen += 1
    assert seen > 2 * kills, "too little was committed for the kills to mean anything"
    assert open_repository(str(place)).verify(deep=True).ok


def test_a_killed_commit_leaves_the_last_version_whole(tmp_path: Path) -> None:
    attack(tmp_path, kills=8, seed=2026)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_many_killed_commits(tmp_path: Path, seed: int) -> None:
    attack(tmp_path, kills=40, seed=seed)


def test_a_killed_checkout_is_completed_by_the_next(tmp_path: Path) -> None:
    data, place = tmp_path / "data", tmp_path / "repository"
    data.mkdir()
    for number in range(1_500):
        (data / f"{number:04}").write_bytes(os.urandom(20_000))
    repository: Repository = init(str(place))
    repository.commit("d", data)
    whole, rng, kills = contents(data), random.Random(7), 0
    for trial in range(6):
        target = tmp_path / f"target-{trial}"
        kills += killed_after(rng.uniform(0.0, 0.3), CHECKOUT, place, target)
        there = contents(target) if target.is_dir() else {}
        parts = [path for path in there if Path(path).name.startswith(".dataver-part-")]
        for path, found in there.items():
            assert path in parts or found == whole[path], "a file appeared before it was whole"
        done = repository.checkout("d", target)
        assert done.files == len(whole)
        assert {path: data for path, data in contents(target).items() if path not in parts} == whole
        # What the killed one left behind is in no version.
        assert not repository.status("d", target)
    assert kills, "every checkout ended before it was killed"


def test_locks_and_leftovers_of_the_dead_stop_nobody(tmp_path: Path) -> None:
    place, data = tmp_path / "repository", tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"x")
    init(str(place))
    started = time.monotonic()
    for _ in range(3):
        killed_after(0.3, COMMITTER, place, data)
    open_repository(str(place)).commit("d", data, allow_empty=True)
    assert time.monotonic() - started < 60
