"""Components, pipelines, schedules and monitors: taken by Azure ML's own loaders, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import load_component, load_job
from azure.ai.ml.entities._load_functions import load_schedule

from dataver.integrations.azureml.bump import bump
from dataver.integrations.azureml.jobs import Pin
from dataver.repository import Repository

Run = Callable[..., Any]
PROJECT = Path(__file__).parents[2]
NAME = 'a "b": {c} # \\ \x7f \x85 \N{GRINNING FACE}'


@pytest.fixture
def id(repository: Repository) -> str:
    return repository.version("iris@v1").id


@pytest.mark.parametrize("kind", ["uri_folder", "mltable"])
def test_a_component(kind: str, id: str, run: Run) -> None:
    Path("src").mkdir()
    run("azureml", "component", "iris@v1", "--type", kind, "--code", "src", "-o", "train.yml")
    loaded = load_component("train.yml")
    assert loaded._validate().passed
    assert loaded.name == "train_iris"
    assert loaded.inputs["dataset_ref"]["default"] == f"iris@{id}"
    assert loaded.inputs["data"]["type"] == kind
    assert "dataver verify" in loaded.command


@pytest.mark.parametrize("component", [None, "train.yml"])
@pytest.mark.parametrize("kind", ["uri_folder", "mltable"])
def test_a_pipeline_and_its_schedule(component: str | None, kind: str, id: str, run: Run) -> None:
    run("azureml", "component", "iris@v1", "--type", kind, "-o", "train.yml")
    given = ["--component", component] if component else []
    run(
        "azureml",
        "pipeline",
        "iris@v1",
        "--type",
        kind,
        *given,
        "--compute",
        "azureml:cpu",
        "-o",
        "pipeline.yml",
    )
    loaded = load_job("pipeline.yml")
    result = loaded._validate()
    assert result.passed, result.error_messages
    assert loaded.settings.default_compute == "cpu"
    assert loaded.inputs["dataset_ref"]._data == f"iris@{id}"
    assert loaded.inputs["data"]._data.path == "iris:1"
    assert loaded.inputs["data"]._data.mode == "ro_mount"
    run("azureml", "schedule", "iris@v1", "--type", kind, "--cron", "5 4 * * *", "-o", "schedule.yml")
    schedule = load_schedule("schedule.yml")
    assert schedule._validate().passed
    assert schedule.trigger.expression == "5 4 * * *"
    assert schedule.create_job.inputs["dataset_ref"]._data == f"iris@{id}"


def test_a_pipeline_needs_no_options(id: str, run: Run) -> None:
    run("azureml", "pipeline", "iris", "-o", "p.yml")
    assert load_job("p.yml")._validate().passed


def test_one_file_needs_the_list(id: str, run: Run) -> None:
    listed = f"azureml://datastores/blobs/paths/dataver-exports/one/{id}/.dataver.json"
    assert "--manifest" in run("azureml", "pipeline", "one", "--type", "uri_file", code=2)
    given = ["--type", "uri_file", "--manifest", listed]
    run("azureml", "component", "one", *given, "-o", "train.yml")
    assert load_component("train.yml")._validate().passed
    run("azureml", "pipeline", "one", *given, "--component", "train.yml", "-o", "pipeline.yml")
    loaded = load_job("pipeline.yml")
    assert loaded._validate().passed
    assert loaded.inputs["manifest"]._data.path == listed
    run("azureml", "schedule", "one", *given, "-o", "schedule.yml")
    assert load_schedule("schedule.yml")._validate().passed


def test_a_monitor(id: str, run: Run) -> None:
    run("azureml", "monitor", "iris@v1", "--production", "azureml:served:7", "-o", "monitor.yml")
    loaded = load_schedule("monitor.yml")
    signal = loaded.create_monitor.monitoring_signals["data_drift"]
    assert signal.reference_data.input_data["path"] == "iris:1"
    assert signal.production_data.input_data["path"] == "served:7"
    assert signal.metric_thresholds.numerical.normalized_wasserstein_distance == 0.1
    assert signal.metric_thresholds.categorical.jensen_shannon_distance == 0.1
    assert loaded.tags == {"dataver.ref": f"iris@{id}"}


def test_names_and_commands_stay_what_they_are(id: str, run: Run) -> None:
    command = "python -c 'print(\"a: b # c\")' --data ${{inputs.data}}"
    run("azureml", "pipeline", "iris", "--name", NAME, "--command", command, "-o", "pipeline.yml")
    loaded = load_job("pipeline.yml")
    assert loaded.display_name == NAME
    assert loaded.jobs["train"].component.command.endswith(f"exit $?; {command}")
    for line in ("a\nb", "a\rb: c", "a\x85b", "a\u2028b", "a\x1bb", " "):
        assert "one line" in run("azureml", "component", "iris", "--command", line, code=2)


def test_without_a_file_it_is_printed(id: str, run: Run) -> None:
    printed = run("azureml", "component", "iris@v1")
    assert (printed["ref"], printed["asset"], printed["output"]) == (f"iris@{id}", "azureml:iris:1", None)
    Path("printed.yml").write_text(printed["text"])
    assert load_component("printed.yml")._validate().passed


# As a job runs it


def start(command: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the command of a component, as a job does, far from the repository."""
    for name, value in inputs.items():
        command = command.replace(f"${{{{inputs.{name}}}}}", value)
    command = command.replace("${{outputs.model}}", str(folder / "model"))
    environment = {name: value for name, value in os.environ.items() if name != "DATAVER_REPO"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**environment, "PATH": path, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["uri_folder", "mltable", "uri_file"])
def test_a_job_trains_on_the_right_bytes_alone(
    kind: str, repository: Repository, run: Run, tmp_path: Path
) -> None:
    dataset = "one" if kind == "uri_file" else "iris"
    done = run("export", "azureml", dataset, "--type", kind, "--to", str(tmp_path / "out"), "--yaml", "a.yml")
    listed = Path(done["url"]) / ".dataver.json"
    line = "false && true; true || false; echo trained > ${{outputs.model}} || true"
    run(
        "azureml", "component", dataset, "--type", kind, "--command", line, "-o", "train.yml",
        *(["--manifest", "azureml://x"] if kind == "uri_file" else []),
    )  # fmt: skip
    component = load_component("train.yml")
    folder = tmp_path / "job"
    folder.mkdir()
    inputs = {
        "dataset_ref": component.inputs["dataset_ref"]["default"],
        "data": done["path"],
        "manifest": str(listed),
    }
    told = start(component.command, folder, **inputs)
    assert told.returncode == 0, told.stderr
    assert (folder / "model").read_text() == "trained\n"

    (folder / "model").unlink()
    place = Path(done["url"]) / ("one.csv" if kind == "uri_file" else "train/b.csv")
    data = bytearray(place.read_bytes())
    data[-2] ^= 1
    place.write_bytes(data)
    told = start(component.command, folder, **inputs)
    assert told.returncode == 5
    assert "1 changed" in told.stderr
    assert not (folder / "model").exists()

    place.write_bytes(bytes([*data[:-2], data[-2] ^ 1, data[-1]]))
    assert start(component.command, folder, **inputs).returncode == 0
    other = {**inputs, "dataset_ref": f"{dataset}@{'0' * 64}"}
    assert start(component.command, folder, **other).returncode == 5


def test_another_mltable_is_found(repository: Repository, run: Run, tmp_path: Path) -> None:
    """It would have the job read other tables than those that were compared."""
    done = run(
        "export", "azureml", "iris", "--type", "mltable", "--to", str(tmp_path / "out"), "--yaml", "a.yml"
    )
    (Path(done["url"]) / "MLTable").write_text("type: mltable\npaths:\n  - file: /etc/passwd\n")
    found = run("verify", "iris", "--at", done["url"], code=5)
    assert "1 extra" in found


# Pins that move


def test_a_bump_changes_the_pins_and_nothing_else(repository: Repository, run: Run, tmp_path: Path) -> None:
    old = repository.version("iris@v1").id
    (tmp_path / "data" / "new.csv").write_text("x,y\n5,6\n")
    repository.commit("iris", tmp_path / "data")
    new = repository.version("iris@v2").id
    for kind in ("component", "pipeline", "schedule"):
        run("azureml", kind, "iris@v1", "-o", f"{kind}.yml")
    comment = f"# kept,   with its blanks\r\n# not-iris@{old[:12]} flowers/iris@{old[:12]} azureml:irises:1\n"
    text = (
        comment + Path("pipeline.yml").read_text() + f"# az://c/dataver-exports/iris/{old}/ iris@{old[:12]}\n"
    )
    Path("pipeline.yml").write_bytes(text.encode())
    files = ["component.yml", "pipeline.yml", "schedule.yml"]
    done = run("azureml", "bump", *files, "iris@v2")
    assert done["ref"] == f"iris@{new}"
    assert [one["changed"] for one in done["files"]] == [True] * 3
    assert done["files"][0]["old"] == [f"iris@{old}"]
    expected = text.removeprefix(comment).replace(old, new).replace(f"iris@{old[:12]}", f"iris@{new[:12]}")
    expected = comment + expected.replace("azureml:iris:1", "azureml:iris:2")
    assert Path("pipeline.yml").read_bytes() == expected.encode()
    assert load_job("pipeline.yml")._validate().passed
    assert load_job("pipeline.yml").inputs["data"]._data.path == "iris:2"
    assert load_schedule("schedule.yml").tags == {"dataver.ref": f"iris@{new}"}

    before = {name: Path(name).stat().st_mtime_ns for name in files}
    again = run("azureml", "bump", *files, "iris@v2")
    assert [one["changed"] for one in again["files"]] == [False] * 3
    assert {name: Path(name).stat().st_mtime_ns for name in files} == before
    run("azureml", "bump", *files, "iris@v1")
    assert Path("pipeline.yml").read_bytes() == text.encode()


def test_a_bump_leaves_models_and_environments_of_the_same_name(
    repository: Repository, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "data" / "new.csv").write_text("x,y\n5,6\n")
    repository.commit("iris", tmp_path / "data")
    run("azureml", "component", "iris@v1", "--environment", "azureml:iris:7", "-o", "train.yml")
    run("azureml", "pipeline", "iris@v1", "--environment", "azureml:iris:7", "-o", "pipeline.yml")
    text = Path("pipeline.yml").read_text()
    model = '  model: {type: mlflow_model, path: "azureml:iris:5"}\n'
    assert (text.count("azureml:iris:7"), text.count("\ninputs:\n")) == (1, 1)
    text = text.replace("\ninputs:\n", f"\ninputs:\n{model}")
    Path("pipeline.yml").write_text(text)
    run("azureml", "bump", "pipeline.yml", "iris@v2")
    old, new = (repository.version(f"iris@{name}").id for name in ("v1", "v2"))
    assert Path("pipeline.yml").read_text() == text.replace(old, new).replace(
        "azureml:iris:1", "azureml:iris:2"
    )


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("d:\n  type: uri_folder\n  path: azureml:iris:7\nm:\n  type: mlflow_model\n  path: x\n", True),
        ("m:\n  path: azureml:iris:7\n  mode: ro_mount\n  type: custom_model\n", False),
        ("m:\n  type: 'triton_model'\n\n  # a comment\n  path: azureml:iris:7", False),
        ("- type: mlflow_model\n  path: x\n- path: azureml:iris:7\n  type: mltable", True),
        ("- type: mlflow_model\n  path: azureml:iris:7\n", False),
        ('{"d": {"path": "azureml:iris:7"}, "m": {"type": "mlflow_model", "path": "x"}}', True),
        ('{"m": {"path": "azureml:iris:7", "type": "mlflow_model"}}', False),
        ("f(Input(type=AssetTypes.MLFLOW_MODEL, path='azureml:iris:7'))", False),
        ("f(Input(type=AssetTypes.URI_FOLDER, path='azureml:iris:7'), Input(type=MLFLOW_MODEL))", True),
        ('"environment": "azureml:iris:7"', False),
        ("component: azureml:iris:7", False),
        ("model:\n  azureml:iris:7", False),
        ("az ml job create --set environment=azureml:iris:7", False),
        ("az ml job create --set inputs.data.path=azureml:iris:7", True),
    ],
)
def test_which_asset_is_data(text: str, moves: bool) -> None:
    old, new = "0123456789abcdef" * 4, "fedcba9876543210" * 4
    given = f"# iris@{old}\n{text}".encode()
    found, _ = bump(given, Pin(f"iris@{new}", "azureml:iris:2", "uri_folder", "iris"))
    moved = text.replace("azureml:iris:7", "azureml:iris:2") if moves else text
    assert found.decode() == f"# iris@{new}\n{moved}"


def test_none_is_written_where_one_pins_nothing(repository: Repository, run: Run, tmp_path: Path) -> None:
    run("azureml", "pipeline", "iris@v1", "-o", "pipeline.yml")
    repository.commit("iris", tmp_path / "data", allow_empty=True)
    Path("other.yml").write_text("iris@v1\n")
    before = Path("pipeline.yml").read_bytes()
    assert "other.yml" in run("azureml", "bump", "pipeline.yml", "other.yml", "iris", code=2)
    assert Path("pipeline.yml").read_bytes() == before
    run("azureml", "bump", "pipeline.yml", "nothing.yml", "iris", code=3)
    run("azureml", "bump", "pipeline.yml", ".", "iris", code=2)
    assert Path("pipeline.yml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iris@{old}", "iris@{new}"),
        ('"iris@{old}"', '"iris@{new}"'),
        ("dataver://iris@{old}/a.csv", "dataver://iris@{new}/a.csv"),
        ("iris@{old:.8} azureml:iris:7", "iris@{new:.8} azureml:iris:2"),
        ("iris@{old:.8} exports/iris/{old}/", "iris@{new:.8} exports/iris/{new}/"),
        ("iris@{old:.8} x/0{old} x/{old}0", "iris@{new:.8} x/0{old} x/{old}0"),
        ("iris@{old:.8} x/{old:.8}/", "iris@{new:.8} x/{old:.8}/"),
        ("iris@{old} azureml:iris@latest", "iris@{new} azureml:iris@latest"),
        ("iris@{old} azureml:my-iris:7", "iris@{new} azureml:my-iris:7"),
        ("iris@{old:.7} my-iris@{old} a/iris@{old} iris@{old}0", None),
        ("azureml:iris:7", None),
        ("Iris@{old} xiris@{old} .iris@{old}", None),
    ],
)
def test_what_is_a_pin(text: str, expected: str | None) -> None:
    old, new = "0123456789abcdef" * 4, "fedcba9876543210" * 4
    given = text.format(old=old, new=new).encode()
    found, refs = bump(given, Pin(f"iris@{new}", "azureml:iris:2", "uri_folder", "iris"))
    if expected is None:
        assert (found, refs) == (given, ())
    else:
        assert found == expected.format(old=old, new=new).encode()
        assert re.fullmatch(r"iris@[0-9a-f]{8,64}", refs[0])
