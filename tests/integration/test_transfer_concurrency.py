"""Several processes push into one repository at once: all arrives, and who came too late is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataver.repository import Repository, init, open_repository
from tests.integration.test_concurrency import folder, together

PUSHERS = 4

PUSH = """
import sys
from dataver.errors import DataverError
from dataver.repository import open_repository

try:
    done = open_repository(sys.argv[1]).push(sys.argv[3:], to=sys.argv[2])
    print("done", len(done.refs), done.versions)
except DataverError as error:
    print("error", type(error).__name__, error.exit_code)
"""


@pytest.fixture
def target(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "target"))


def test_other_datasets_all_arrive(target: Repository, tmp_path: Path) -> None:
    sources = []
    for number in range(PUSHERS):
        source = init(str(tmp_path / f"source-{number}"))
        data = folder(tmp_path / f"data-{number}", text=f"{number}\n" * 1_000)
        for version in range(3):
            (data / "noise").write_bytes(os.urandom(200_000))
            source.commit(f"set{number}", data, message=str(version))
        sources.append(source)
    assert together(PUSH, [[source.url, target.url] for source in sources]) == ["done 1 3"] * PUSHERS
    for number, source in enumerate(sources):
        assert [v.id for v in target.log(f"set{number}")] == [v.id for v in source.log(f"set{number}")]
    assert target.verify(deep=True).ok


def test_the_same_dataset_arrives_once(target: Repository, tmp_path: Path) -> None:
    source = init(str(tmp_path / "source"))
    data = folder(tmp_path / "data", text="text\n" * 1_000)
    for version in range(3):
        (data / "noise").write_bytes(os.urandom(200_000))
        source.commit("d", data, message=str(version))
    outputs = together(PUSH, [[source.url, target.url] for _ in range(PUSHERS)])
    assert all(output.startswith("done") for output in outputs)
    assert outputs.count("done 1 3") >= 1
    assert [v.id for v in target.log("d")] == [v.id for v in source.log("d")]
    assert target.verify(deep=True).ok


def test_of_lines_that_parted_one_wins(target: Repository, tmp_path: Path) -> None:
    first = init(str(tmp_path / "first"))
    first.commit("d", folder(tmp_path / "data", shared="1"))
    sources = [first]
    for number in range(1, PUSHERS):
        sources.append(init(str(tmp_path / f"copy-{number}")))
        sources[-1].pull(source=first)
    for number, source in enumerate(sources):
        mine = tmp_path / f"mine-{number}"
        source.checkout("d", mine)
        source.commit("d", folder(mine, **{f"file{number}": str(number)}))
    outputs = together(PUSH, [[source.url, target.url] for source in sources])
    assert sum(output.startswith("done") for output in outputs) == 1
    assert outputs.count("error ConflictError 4") == PUSHERS - 1
    # The others come after it, one by one.
    for source in sources:
        again = open_repository(source.url)
        again.pull(source=target, rebase=True)
        again.push(to=target)
    assert {file.path for file in target.version("d").files()} == {
        "shared",
        *(f"file{number}" for number in range(PUSHERS)),
    }
    assert [v.version for v in target.log("d")] == [f"v{n}" for n in range(PUSHERS + 1, 0, -1)]
    assert target.verify(deep=True).ok
    assert all(open_repository(source.url).verify(deep=True).ok for source in sources)
