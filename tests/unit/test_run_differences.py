"""What differs between two runs, ingredient by ingredient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.format.run_record import (
    Code,
    Environment,
    LockedBy,
    RunInput,
    RunModel,
    RunOutput,
    RunRecord,
)
from dataver.repository import Repository
from dataver.reproducing.differences import compare

TREE, OTHER, REPOSITORY = "ab" * 32, "cd" * 32, "ef" * 16
PARTS = {"11" * 32: b"numpy==1.0\npip==1\n", "22" * 32: b"numpy==2.0\npandas==3\npip==1\n"}
PART = {"part": "train", "digest": "a"}
GIVEN = RunInput(
    "training", "iris", "iris", TREE, TREE, REPOSITORY, number=1, split={"part": "train", "digest": "a"}
)
BASE = RunRecord(
    "aa" * 16, "train", "Ada", 0, "done", 1, 0,
    command=("python", "train.py"), code=Code("", "c" * 40, "main"),
    environment=Environment(
        "3.11.7", "CPython", "linux", "11" * 32, (LockedBy("uv.lock", TREE),), {"TZ": "UTC"}, {"cores": 2},
        "0.1",
    ),
    params={"lr": 0.1, "deep": 1}, metrics={"f1": 0.5}, seeds={"python": 7}, inputs=(GIVEN,),
    outputs=(RunOutput("clean", TREE, TREE, REPOSITORY, 1),), models=(RunModel("net", TREE),),
)  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return dataver.init(str(tmp_path_factory.mktemp("empty") / "repository"))


def differences(repository: Repository, a: RunRecord, b: RunRecord) -> list[tuple[str, str, Any, Any]]:
    found = compare(repository, a, b, PARTS.__getitem__).differences
    return [(one.ingredient, one.name, one.before, one.after) for one in found]


def changed(**changes: Any) -> RunRecord:
    return replace(BASE, run="bb" * 16, **changes)


def with_code(**changes: Any) -> RunRecord:
    assert BASE.code is not None
    return changed(code=replace(BASE.code, **changes))


def with_environment(**changes: Any) -> RunRecord:
    assert BASE.environment is not None
    return changed(environment=replace(BASE.environment, **changes))


NOTHING: dict[str, RunRecord] = {
    "the same": changed(),
    "another version of the same files": changed(inputs=(replace(GIVEN, version=OTHER, number=2),)),
    "another branch and remote": with_code(branch="trial", url="https://example.org/x.git"),
    "other untracked files": with_code(untracked=("notes.txt",)),
    "another interpreter's place": changed(command=("/usr/bin/python3", "/srv/ada/train.py")),
    "a whole number": changed(params={"lr": 0.1, "deep": 1.0}),
    "a longer spelling": changed(command=("python", "./train.py")),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_makes_no_difference(repository: Repository, what: str) -> None:
    found = compare(repository, BASE, NOTHING[what], PARTS.__getitem__)
    assert not found
    assert found.first is None


OTHER_GIVEN = replace(GIVEN, version=OTHER, tree=OTHER, number=2)
ONE: dict[str, tuple[RunRecord, tuple[str, str, Any, Any]]] = {
    "data": (
        changed(inputs=(OTHER_GIVEN,)), ("data", "iris:train as training", "iris@v1:train", "iris@v2:train"),
    ),
    "another dataset in the role": (
        changed(inputs=(replace(OTHER_GIVEN, dataset="roses"),)),
        ("data", "iris:train as training", "iris@v1:train", "roses@v2:train"),
    ),
    "another role": (
        changed(inputs=(replace(GIVEN, role="testing"),)),
        ("data", "iris:train as training", "training", "testing"),
    ),
    "no data": (changed(inputs=()), ("data", "iris:train as training", "iris@v1:train", "-")),
    "a split": (
        changed(inputs=(replace(GIVEN, split={"part": "train", "digest": "b"}),)),
        ("data", "split of iris:train as training", "a", "b"),
    ),
    "commit": (with_code(commit="d" * 40), ("code", "commit", "c" * 40, "d" * 40)),
    "patch": (with_code(dirty=True, patch=TREE), ("code", "uncommitted changes", "none", TREE)),
    "folder": (with_code(folder="src"), ("code", "folder", ".", "src")),
    "argument": (
        changed(command=("python", "train.py", "-v")),
        ("code", "command", ["python", "train.py"], ["python", "train.py", "-v"]),
    ),
    "parameter": (changed(params={"lr": 0.2, "deep": 1}), ("parameters", "lr", 0.1, 0.2)),
    "true for one": (changed(params={"lr": 0.1, "deep": True}), ("parameters", "deep", 1, True)),
    "one parameter less": (changed(params={"lr": 0.1}), ("parameters", "deep", 1, "-")),
    "python": (
        with_environment(python="3.12.1"), ("environment", "python", "CPython 3.11.7", "CPython 3.12.1"),
    ),
    "packages": (with_environment(packages="22" * 32), ("environment", "packages", 2, 3)),
    "lock": (with_environment(locks=()), ("environment", "lock file uv.lock", TREE, "-")),
    "variable": (with_environment(variables={"TZ": "CET"}), ("environment", "variable TZ", "UTC", "CET")),
    "platform": (with_environment(platform="darwin"), ("environment", "platform", "linux", "darwin")),
    "hardware": (with_environment(hardware={"cores": 4}), ("environment", "hardware cores", 2, 4)),
    "dataver": (with_environment(dataver="0.2"), ("environment", "dataver", "0.1", "0.2")),
    "seed": (changed(seeds={"python": 8}), ("seeds", "python", 7, 8)),
    "status": (changed(status="failed"), ("results", "status", "done", "failed")),
    "metric": (changed(metrics={"f1": "nan"}), ("results", "metric f1", 0.5, "nan")),
    "model": (changed(models=(RunModel("net", OTHER),)), ("results", "model net", TREE, OTHER)),
    "a second model": (
        changed(models=(*BASE.models, RunModel("net", OTHER))), ("results", "model net#2", "-", OTHER),
    ),
    "output": (
        changed(outputs=(RunOutput("clean", OTHER, OTHER, REPOSITORY, 2),)),
        ("results", "output clean", TREE, OTHER),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ONE)
def test_one_thing_differs(repository: Repository, what: str) -> None:
    other, expected = ONE[what]
    assert differences(repository, BASE, other) == [expected]
    found = compare(repository, BASE, other, PARTS.__getitem__)
    assert (found.first is None) == (expected[0] == "results")


def test_the_order_is_that_in_which_one_looks_for_a_cause(repository: Repository) -> None:
    assert BASE.code is not None
    assert BASE.environment is not None
    other = changed(
        seeds={}, params={}, metrics={}, inputs=(OTHER_GIVEN,), code=replace(BASE.code, commit="d" * 40),
        environment=replace(BASE.environment, python="3.12.1"),
    )  # fmt: skip
    found = [one[0] for one in differences(repository, BASE, other)]
    assert list(dict.fromkeys(found)) == ["data", "code", "parameters", "environment", "seeds", "results"]


def test_packages_are_told_one_by_one(repository: Repository) -> None:
    (one,) = compare(repository, BASE, with_environment(packages="22" * 32), PARTS.__getitem__).differences
    assert one.detail == "numpy 1.0 -> 2.0, pandas - -> 3"
    assert one.to_json()["packages"] == {"numpy": ["1.0", "2.0"], "pandas": ["-", "3"]}


def test_what_is_not_known_is_said(repository: Repository) -> None:
    other = changed(code=Code(reason="git is not installed"), environment=None)
    found = compare(repository, BASE, other, PARTS.__getitem__)
    assert found.unknown == (
        "the code of run bbbbbbbbbbbb: git is not installed", "the environment of run bbbbbbbbbbbb",
    )  # fmt: skip
    assert not found


def test_versions_that_are_here_are_looked_into(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    made = dataver.init(str(tmp_path / "repository"))
    data = tmp_path / "data"
    data.mkdir()
    given: list[RunInput] = []
    for rows in (3, 5):
        pyarrow.parquet.write_table(pyarrow.table({"x": list(range(rows))}), data / "a.parquet")
        (data / f"{rows}.txt").write_text("more")
        made.commit("iris", data)
        version = made.version("iris")
        given.append(replace(GIVEN, version=version.id, tree=version.tree, number=len(given) + 1))
    a, b = (changed(inputs=(one,)) for one in given)
    (one,) = compare(made, a, b, PARTS.__getitem__).differences
    assert one.detail == "1 added, 1 modified, 3 -> 5 rows in 1 table"
    expected: Mapping[str, Any] = {
        "files": {"added": 1, "modified": 1, "deleted": 0, "renamed": 0},
        "rows": [3, 5],
    }
    assert {name: one.document[name] for name in expected} == expected
