"""Processes that commit, name and delete while others collect with no grace at all: nothing is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dataver

WRITER = """
import random, sys, pathlib, shutil
import dataver
from dataver.errors import ConflictError

url, folder, number, rounds = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
repository = dataver.open(url)
draw, dataset = random.Random(number), f"d{number}"
for turn in range(rounds):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seeds = [draw.randrange(6) for _ in range(3)] + [1000 * number + turn]
    for seed in seeds:
        (folder / f"{seed}").write_bytes(random.Random(seed).randbytes(120_000))
    branch = "main" if turn % 3 or not turn else f"trial{turn}"
    while True:
        try:
            tags = [f"t{turn}"] if turn % 2 else []
            base = f"{dataset}@main" if turn else None
            done = repository.commit(dataset, folder, branch=branch, tags=tags, base=base)
            break
        except ConflictError as error:
            assert "repeat" in str(error) or "collected" in str(error), error
    print(done.id, f"t{turn}" if turn % 2 else branch, *sorted(set(seeds)), flush=True)
    if branch != "main":
        repository.delete_ref("branch", dataset, branch)
"""
COLLECTOR = """
import sys
import dataver
from dataver.errors import ConflictError

repository = dataver.open(sys.argv[1])
rounds = freed = 0
while sys.stdin.readable() and not __import__("select").select([sys.stdin], [], [], 0)[0]:
    try:
        freed += repository.gc(yes=True, grace_s=float(rounds % 2)).bytes
    except ConflictError:
        pass
    rounds += 1
print(rounds, freed)
"""
WRITERS, ROUNDS = 3, 12


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("collectors", [1, 2])
def test_writers_and_collectors_at_once(tmp_path: Path, collectors: int) -> None:
    url = str(tmp_path / "repository")
    dataver.init(url)
    working = [
        start(WRITER, url, str(tmp_path / f"s{number}"), str(number), str(ROUNDS))
        for number in range(WRITERS)
    ]
    collecting = [start(COLLECTOR, url) for _ in range(collectors)]
    written = [writer.communicate()[0] for writer in working]
    assert [writer.returncode for writer in working] == [0] * WRITERS
    time.sleep(0.2)
    collected = [collector.communicate("stop\n")[0] for collector in collecting]
    assert [collector.returncode for collector in collecting] == [0] * collectors
    assert sum(int(text.split()[0]) for text in collected) >= 2
    repository = dataver.open(url)
    assert repository.gc(yes=True, grace_s=0).bytes + sum(int(text.split()[1]) for text in collected) > 0
    report = repository.verify(deep=True)
    assert report.ok, report.damaged
    for number, text in enumerate(written):
        lines = [line.split() for line in text.splitlines()]
        assert len(lines) == ROUNDS
        for _, name, *seeds in [line for line in lines if line[1].startswith("t") and "r" not in line[1]]:
            version = repository.version(f"d{number}@{name}")
            for seed in seeds:
                assert version.read(seed) == random.Random(int(seed)).randbytes(120_000)
