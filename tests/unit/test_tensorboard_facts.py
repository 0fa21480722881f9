"""What TensorBoard is told of a run, where no TensorBoard is needed, or none is there."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

import dataver
from dataver.errors import MissingExtraError
from dataver.format.run_record import RunInput
from dataver.integrations.tensorboard.facts import hyperparameters, table
from dataver.integrations.tensorboard.folders import folders_of, other_files, own_file, own_files
from dataver.integrations.tensorboard_plugins import resolve

RUN = "0123456789abcdef" * 2


def given(dataset: str, digit: str, number: int = 0, role: str = "training", part: str = "") -> RunInput:
    split = {"name": "default", "part": part} if part else None
    return RunInput(role, dataset, dataset, digit * 64, "0" * 64, "1" * 32, "az://data", number, split)


def test_versions_are_hyperparameters_and_further_ones_have_their_role() -> None:
    inputs = [
        given("iris", "a", 3, part="train"),
        given("iris", "a", 3, "validation", "test"),
        given("iris", "b", role="testing"),
        given("iris", "c", 5, role="testing"),
        given("vision/cats", "d", 1),
    ]
    assert hyperparameters(inputs, {"lr": 0.1, "layers": [1, 2], "none": None, "on": True}) == {
        "lr": 0.1,
        "layers": "[1, 2]",
        "on": True,
        "data.iris.version": "v3",
        "data.iris.id": "a" * 12,
        "data.iris.part": "default/train, default/test",
        "data.iris.testing.version": "b" * 12,
        "data.iris.testing.id": "b" * 12,
        "data.iris.testing.3.version": "v5",
        "data.iris.testing.3.id": "c" * 12,
        "data.vision/cats.version": "v1",
        "data.vision/cats.id": "d" * 12,
    }


def test_a_table_keeps_its_cells_whatever_is_in_them() -> None:
    lines = table("a | b\n<script>", RUN, "done", [given("iris", "a", 3, "x | `y`")]).splitlines()
    assert lines[0] == rf"**a \| b \<script\>**, done, `run:{RUN}`"
    assert lines[-1] == rf"| x \| \`y\` | iris@v3 |  | `{'a' * 64}` | az://data |"
    assert "so far" in table("train", RUN, "running", [])
    assert "No version" in table("train", RUN, "done", [])


def test_our_files_come_before_all_others_the_newest_first(tmp_path: Path) -> None:
    theirs = tmp_path / "events.out.tfevents.1000000000.host.1.0"
    theirs.touch()
    first = own_file(str(tmp_path), RUN)
    Path(first.path).touch()
    second = own_file(str(tmp_path), RUN[::-1])
    Path(second.path).touch()
    assert own_file(str(tmp_path), RUN) == first
    assert own_files(str(tmp_path)) == [second, first]
    assert sorted(os.listdir(tmp_path)) == [os.path.basename(file.path) for file in (second, first)] + [
        theirs.name
    ]
    assert other_files(str(tmp_path)) == [str(theirs)]
    assert own_files(str(tmp_path / "none")) == []


def test_event_files_of_others_are_not_taken_for_the_runs(tmp_path: Path) -> None:
    host = socket.gethostname()
    names = {
        "own": f"events.out.tfevents.2000000000.{host}.12.0",
        "keras": f"events.out.tfevents.2000000000.{host}.12.0.v2",
        "other-process": f"events.out.tfevents.2000000000.{host}.13.0",
        "other-host": f"events.out.tfevents.2000000000.not-{host}.12.0",
        "earlier": f"events.out.tfevents.1999999998.{host}.12.0",
        ".hidden": f"events.out.tfevents.2000000000.{host}.12.0",
        "unnamed": "events.out.tfevents.2000000000",
    }
    for folder, name in names.items():
        (tmp_path / "runs" / folder).mkdir(parents=True)
        (tmp_path / "runs" / folder / name).touch()
    found = folders_of([12], 1_999_999_999_500_000, str(tmp_path))
    assert sorted(map(os.path.basename, found)) == ["keras", "own"]


def test_without_tensorboard_it_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    repository = dataver.init(tmp_path / "repository")
    assert resolve(str(tmp_path)) is None
    with (
        pytest.warns(UserWarning, match=r"tracker_added.*dataver\[tensorboard\]"),
        dataver.run("train", repo=repository, tensorboard=tmp_path / "r0") as run,
    ):
        pass
    assert run.record is not None
    assert run.record.status == "done"
    assert not (tmp_path / "r0").exists()
    Path(own_file(str(tmp_path), RUN).path).touch()
    with pytest.raises(MissingExtraError, match=r"dataver\[tensorboard\]"):
        resolve(str(tmp_path))
