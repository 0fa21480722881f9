"""How the command, the variables and the verdict of a repeated run come about."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dataver.errors import RefNotFoundError
from dataver.format.run_record import Code, Environment, LockedBy, RunModel, RunRecord
from dataver.hashing import blake3_digest
from dataver.reproducing.commands import Moved, again
from dataver.reproducing.interpreters import lock_of, variables_of
from dataver.reproducing.outcome import results_of, verdict

TREE, OTHER = "ab" * 32, "cd" * 32


def record(*command: str, untracked: tuple[str, ...] = ()) -> RunRecord:
    return RunRecord(
        "aa" * 16, "train", "Ada", 0, command=command, code=Code("", "c" * 40, untracked=untracked)
    )


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A copy of the code, beside the git repository that it is a copy of."""
    for name in ("copy", "there"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / "train.py").write_text("")
        (tmp_path / name / "run.sh").write_text("")
    return tmp_path / "copy"


def moved(top: Path) -> Moved:
    return Moved(str(top), str(top.parent / "there"), (str(top.parent / "there" / ".dataver"),))


@pytest.mark.parametrize(
    "command",
    [
        ("python", "src/train.py"), ("python", "-u", "-X", "dev", "-W", "error", "src/train.py", "-m", "x"),
        ("python", "-m", "train"), ("python", "-c", "print(1)"), ("python", "-Im", "train"),
        ("./run.sh", "1"), ("make", "train"), ("sh", "-c", "true"),
    ],
)  # fmt: skip
def test_commands_that_stay(top: Path, command: tuple[str, ...]) -> None:
    assert again(record(*command), str(top), moved(top), None) == list(command)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ((), "no command"), (("python", "train.py", "--token", "***"), "in place of secrets"),
        (("python",), "notebook"), (("python", "-i"), "notebook"), (("python", "-"), "notebook"),
        (("python", "-m", "ipykernel_launcher", "-f", "/run/kernel.json"), "notebook"),
        (("python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(3)"), "worker process"),
        (("python", "new/a.py"), "not known to git"), (("python", "none.py"), "not in commit"),
        (("./none.sh",), "not in commit"), (("/nowhere/none.py",), "neither here nor"),
    ],
)  # fmt: skip
def test_commands_that_nobody_knows(top: Path, command: tuple[str, ...], reason: str) -> None:
    with pytest.raises(RefNotFoundError, match=reason):
        again(record(*command, untracked=("new/",)), str(top), moved(top), None)


def test_an_interpreter_that_is_gone_is_this_one(top: Path) -> None:
    found = again(record("/nowhere/.venv/bin/python3", "src/train.py"), str(top), moved(top), None)
    assert found == [sys.executable, "src/train.py"]
    assert again(record("python", "src/train.py"), str(top), moved(top), "/new/python")[0] == "/new/python"


def test_paths_of_the_users_folder_become_those_of_the_copy(top: Path) -> None:
    there = top.parent / "there"
    command = (
        "python",
        f"{there}/src/train.py",
        f"--out={there}/m",
        f"{there}/m",
        f"{there}/.dataver",
        "a=/etc",
    )
    assert again(record(*command), str(top), moved(top), None)[1:] == [
        f"{top}/src/train.py", f"--out={top}/m", f"{top}/m", f"{there}/.dataver", "a=/etc",
    ]  # fmt: skip
    # Of a folder that is gone, the script is found by the end of its path.
    found = again(record("python", "/gone/project/src/train.py"), str(top), moved(top), None)
    assert found[1] == f"{top}/src/train.py"


def test_variables_are_set_and_unset() -> None:
    environment = Environment(
        variables={"PYTHONHASHSEED": "7", "MINE": "x", "SLURM_JOB_ID": "3", "KEY": "***"}
    )
    found = variables_of(environment, "/new/bin/python")
    assert (found["PYTHONHASHSEED"], found["MINE"], found["OMP_NUM_THREADS"]) == ("7", "x", None)
    assert {"SLURM_JOB_ID", "KEY"}.isdisjoint(found)
    assert str(found["PATH"]).startswith(f"/new/bin{os.pathsep}")
    assert found["VIRTUAL_ENV"] == "/new"
    assert variables_of(None, None) == {}


def test_the_lock_is_one_that_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"numpy\n")
    (tmp_path / "requirements-dev.txt").write_bytes(b"pytest\n")
    then = [LockedBy(name, str(blake3_digest((tmp_path / name).read_bytes()))) for name in
            ("requirements-dev.txt", "requirements.txt")]  # fmt: skip
    environment = Environment(locks=(*then, LockedBy("uv.lock", TREE)))
    assert lock_of(environment, str(tmp_path)) == "requirements.txt"
    (tmp_path / "requirements.txt").write_bytes(b"numpy>2\n")
    assert lock_of(environment, str(tmp_path)) == "requirements-dev.txt"
    assert lock_of(Environment(), str(tmp_path)) is None


@pytest.mark.parametrize(
    ("models", "metrics", "tolerances", "expected"),
    [
        ((TREE, TREE), ({"f1": 0.5}, {"f1": 0.1}), {}, "equal"),
        ((TREE, OTHER), ({"f1": 0.5}, {"f1": 0.5}), {}, "different"),
        ((TREE, OTHER), ({"f1": 0.5}, {"f1": 0.5}), {"f1": 0.0}, "within tolerance"),
        ((TREE, OTHER), ({"f1": 0.5, "s": 1}, {"f1": 0.504, "s": 9}), {"f1": 0.01}, "within tolerance"),
        ((TREE, OTHER), ({"f1": 0.5}, {"f1": 0.506}), {"f1": 0.01}, "different"),
        ((TREE, OTHER), ({"f1": 0.5}, {}), {"f1": 0.01}, "different"),
        ((TREE, None), ({}, {}), {}, "different"),
        ((None, None), ({"f1": 0.5}, {"f1": 0.5}), {}, "equal"),
        ((None, None), ({"f1": 0.5, "s": 1}, {"f1": 0.5, "s": 2}), {}, "different"),
        ((None, None), ({"f1": 0.5, "s": 1}, {"f1": 0.5, "s": 2}), {"s": float("inf")}, "within tolerance"),
        ((None, None), ({"f1": "nan"}, {"f1": "nan"}), {}, "equal"),
        ((None, None), ({"f1": "nan"}, {"f1": 0.5}), {"f1": 1.0}, "different"),
        ((None, None), ({"f1": 0.0}, {"f1": 1e-9}), {"f1": 0.5}, "different"),
    ],
)  # fmt: skip
def test_the_verdict(
    models: tuple[str | None, str | None],
    metrics: tuple[dict[str, object], dict[str, object]],
    tolerances: dict[str, float],
    expected: str,
) -> None:
    a, b = (
        RunRecord(
            "aa" * 16, "train", "Ada", 0, metrics=found, models=(RunModel("net", tree),) if tree else ()
        )
        for tree, found in zip(models, metrics, strict=True)
    )
    assert verdict(results_of(a, b, tolerances)) == expected
