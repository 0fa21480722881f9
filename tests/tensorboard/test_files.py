"""The event file of a run: what it holds, and what an audit makes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

import dataver
from dataver.errors import BadInputError, DamagedError
from dataver.format.run_record import decode_run
from dataver.integrations.tensorboard import writing
from dataver.integrations.tensorboard.folders import folders_of, own_files
from dataver.repository import Repository
from tests.mlflow.conftest import dataver_program, environment

WRITER = """\
import dataver
from tensorboard.summary import Writer
dataver.resolve("iris@v1").read("a.csv")
writer = Writer("logs/deep/r0")
writer.add_scalar("loss", 0.5, 0)
writer.close()
"""


def read(folder: Path) -> EventAccumulator:
    """What a log folder holds, read as TensorBoard reads it."""
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def hparams(folder: Path) -> dict[str, object]:
    content = read(folder).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    given = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(given[name], given[name].WhichOneof("kind")) for name in given}


def test_it_holds_the_records_byte_for_byte(repository: Repository, tmp_path: Path) -> None:
    with dataver.run("train", tensorboard=tmp_path / "r0") as run:
        run.use("iris@v1", "training").read("a.csv")
    assert run.record is not None
    found = read(tmp_path / "r0").summary_metadata[writing.record_tag(run.id, "done")].plugin_data
    assert found.plugin_name == "dataver"
    assert found.content == run.record.encode()
    assert decode_run(found.content, "it").inputs[0].number == 1
    start = read(tmp_path / "r0").summary_metadata[writing.record_tag(run.id, "running")].plugin_data
    assert decode_run(start.content, "it").status == "running"


def test_it_is_there_from_the_start_and_names_what_was_read_since(
    repository: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / "r0"
    with dataver.run("train", tensorboard=folder) as run:
        (file,) = own_files(str(folder))
        first = Path(file.path).read_bytes()
        run.use("iris@v1", "training")
        run.tensorboard(folder)
        known = Path(file.path).read_bytes()
        assert known.startswith(first)
        assert hparams(folder)["data.iris.version"] == "v1"
        version = repository.version("iris@v2")
        version.read("a.csv")
    assert not Path(file.path).read_bytes().startswith(known)  # Of a tag in it the first value counts.
    assert hparams(folder)["data.iris.input.version"] == "v2"
    assert [name.name for name in folder.iterdir()] == [Path(file.path).name]


def test_an_audit_of_the_folder_leads_to_the_data(repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "r0"
    with dataver.run("train", tensorboard=folder) as run:
        run.use("iris@v1", "training").read("a.csv")
    report = json.loads(dataver_program("audit", str(folder), "--verify", "--json"))
    assert (report["status"], report["run"]["id"]) == ("traced", run.id)
    evidence = {one["source"]: one for one in report["evidence"]}
    assert evidence["tracker"]["agrees"] is True
    assert "byte for byte" in evidence["tracker"]["detail"]
    asked = json.loads(dataver_program("audit", f"run:{run.id}", "--tracker", "--json"))
    assert {one["source"]: one["agrees"] for one in asked["evidence"]}["tracker"] is True
    lineage = json.loads(dataver_program("lineage", str(folder), "--up", "--json"))
    assert {"version", "run", "external"} <= {node["kind"] for node in lineage["nodes"]}

    shutil.copytree(folder, tmp_path / "copies" / "r0")
    other = dataver.init(tmp_path / "other")
    elsewhere = json.loads(
        dataver_program("--repo", other.url, "audit", str(tmp_path / "copies" / "r0"), "--json")
    )
    assert elsewhere["status"] == "traced"
    assert elsewhere["data"][0]["id"] == repository.version("iris@v1").id
    assert "no run is recorded here" in elsewhere["warnings"][0]


def test_an_audit_of_the_folder_of_all_runs_names_those_below(repository: Repository, tmp_path: Path) -> None:
    for name in ("r1", "deep/r0"):
        with dataver.run("train", tensorboard=tmp_path / "runs" / name) as run:
            run.use("iris@v1", "training")
    folder = os.path.join(tmp_path, "runs")
    told = dataver_program("audit", folder, code=3)
    assert "has no record of a run itself; name one of the log folders below: " in told
    assert told.index(f"{folder}/r1") < told.index(f"{folder}/deep/r0")  # by how deep they are
    with pytest.raises(BadInputError, match="one of the log folders below"):
        repository.lineage(folder)
    (tmp_path / "runs" / "weights").write_bytes(b"weights")
    with dataver.run("final") as run:
        run.use("iris@v1", "training").read("a.csv")
        run.log_model("net", tmp_path / "runs")
    assert json.loads(dataver_program("audit", folder, "--json", code=0))["run"]["id"] == run.id


def test_a_url_is_no_folder_here(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.warns(UserWarning, match="s3://bucket/r0' is no folder of this machine"),
        dataver.run("train", tensorboard="s3://bucket/r0") as run,
    ):
        pass
    assert run.record is not None
    assert (run.record.status, run.record.trackers) == ("done", ())
    assert not Path("s3:").exists()


def test_an_audit_tells_of_a_record_that_the_run_never_had(repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "r0"
    with dataver.run("train", tensorboard=folder) as run:
        run.use("iris@v1", "training")
    start, end = run.start_record, run.record
    assert start is not None
    assert end is not None
    shutil.rmtree(folder)
    writing.finish(str(folder), start, replace(end, params={"lr": 1}))
    assert "never had" in dataver_program("audit", str(folder), code=5)


def test_a_record_that_was_amended_is_one_that_the_run_had(repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "r0"
    with dataver.run("train", tensorboard=folder) as run:
        run.use("iris@v1", "training")
    assert run.record is not None
    from dataver.lineage.publishing import amend_run

    amend_run(repository.session, replace(run.record, params={"lr": 1}, amends=str(run.record.digest())))
    report = json.loads(dataver_program("audit", str(folder), "--json"))
    assert report["params"] == {"lr": 1}
    assert {one["source"]: one["agrees"] for one in report["evidence"]}["tracker"] is True


def test_a_run_that_was_killed_has_the_record_of_its_start(repository: Repository, tmp_path: Path) -> None:
    code = (
        "import dataver, os, signal\n"
        "with dataver.run('train', tensorboard='r0') as run:\n"
        "    run.use('iris@v1', 'training'); run.tensorboard('r0')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", code], env=environment({}), cwd=tmp_path, check=False)
    assert died.returncode == -signal.SIGKILL
    assert hparams(tmp_path / "r0")["data.iris.version"] == "v1"
    (file,) = own_files(str(tmp_path / "r0"))
    report = repository.audit(str(tmp_path / "r0"))
    assert report.record is not None
    assert (report.record.run, report.record.status) == (file.run, "running")
    assert [one.agrees for one in report.evidence if one.source == "tracker"] == [True]
    assert report.status == "not traceable"


def test_several_runs_in_a_folder_have_files_of_their_own(repository: Repository, tmp_path: Path) -> None:
    folder, ids = tmp_path / "r0", []
    for version in ("iris@v1", "iris@v2"):
        with dataver.run("train", tensorboard=folder) as run:
            run.use(version, "training")
        ids.append(run.id)
    assert [file.run for file in own_files(str(folder))] == ids[::-1]
    assert hparams(folder)["data.iris.version"] == "v2"
    report = json.loads(dataver_program("audit", str(folder), "--json"))
    assert report["run"]["id"] == ids[1]
    assert "the newest is meant" in "".join(report["warnings"])


def test_the_folder_of_a_writer_in_the_run_is_found(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(WRITER)
    (tmp_path / "logs" / "others").mkdir(parents=True)
    writer = EventFileWriter(str(tmp_path / "logs" / "others"))
    writer.add_event(event_pb2.Event(wall_time=1.0, step=0))
    writer.close()
    done = subprocess.run(
        [sys.executable, "-m", "dataver.cli", "run", "--", sys.executable, "train.py"],
        env=environment({"PYTHONPATH": str(Path(__file__).parents[2])}), cwd=tmp_path, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert "inputs: iris@v1" in done.stderr
    assert own_files(str(tmp_path / "logs" / "others")) == []
    assert hparams(tmp_path / "logs" / "deep" / "r0")["data.iris.version"] == "v1"
    assert folders_of([os.getpid()], 0, str(tmp_path)) == [str(tmp_path / "logs" / "others")]


def test_a_folder_can_be_named_by_a_variable_and_linking_switched_off(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_TENSORBOARD_LOGDIR", "r0")
    with dataver.run("outer"), dataver.run("inner"):
        repository.version("iris@v1").read("a.csv")
    assert len(own_files("r0")) == 1
    monkeypatch.setenv("DATAVER_NO_LINK", "1")
    with dataver.run("unlinked", tensorboard="r1"):
        pass
    assert not Path("r1").exists()


def test_a_run_without_a_log_folder_imports_no_tensorboard(repository: Repository, tmp_path: Path) -> None:
    code = "import sys, dataver\nwith dataver.run('train'): pass\nassert 'tensorboard' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code], env=environment({}), cwd=tmp_path, check=True)


def test_a_folder_that_cannot_be_written_is_a_warning(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.warns(UserWarning, match="tracker_added"),
        pytest.warns(UserWarning, match="run_ended"),
        dataver.run("train", tensorboard=tmp_path / "file" / "r0") as run,
    ):
        pass
    assert run.record is not None
    assert run.record.status == "done"


def test_a_damaged_file_is_told(repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "r0"
    with dataver.run("train", tensorboard=folder) as run:
        run.use("iris@v1", "training")
    (file,) = own_files(str(folder))
    Path(file.path).write_bytes(Path(file.path).read_bytes()[:100])
    with pytest.raises(DamagedError, match="no record of a run"):
        repository.audit(str(folder))
